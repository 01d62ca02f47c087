"""A policy that says given replies, for plays without a model."""

from __future__ import annotations

from tenyson.engines.engine import Reply


class Policy:
    """Says the same replies in every rollout, in order; keeps the prompts."""

    def __init__(self, renderer, *texts):
        self.renderer, self.texts, self.prompts = renderer, texts, []

    def __call__(self, prompts, turn):
        self.prompts += prompts
        return [self.reply(self.texts[turn % len(self.texts)]) for _ in prompts]

    def reply(self, text):
        ids = self.renderer.tokenizer(text, add_special_tokens=False)["input_ids"]
        return Reply([*ids, self.renderer.turn_end_id], "stop", [-0.5] * (len(ids) + 1))
