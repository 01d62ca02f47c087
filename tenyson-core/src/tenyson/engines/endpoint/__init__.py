"""An OpenAI-compatible endpoint on loopback: a policy answers whatever is written against the openai package. Needs no torch."""
