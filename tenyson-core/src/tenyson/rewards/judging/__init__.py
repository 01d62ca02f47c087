"""Judging: a language model behind an OpenAI-compatible endpoint says what a rollout is worth."""
