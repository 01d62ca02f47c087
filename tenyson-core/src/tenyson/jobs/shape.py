"""The shape of a model: what its memory is reckoned from, read from config.json or known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Shape:
    """The shape of a decoder with a gated MLP (Llama, Qwen, Mistral and their kin)."""

    layers: int
    hidden: int
    query: int
    """Width of all query heads together."""
    key_value: int
    """Width of all key heads together; the values have the same."""
    intermediate: int
    vocabulary: int
    tied: bool
    """Whether input and output embeddings are one matrix."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Shape:
        """Read a model's config.json. Raises: KeyError where it describes another kind of model."""
        heads = config["num_attention_heads"]
        head = config.get("head_dim") or config["hidden_size"] // heads
        return cls(
            layers=config["num_hidden_layers"],
            hidden=config["hidden_size"],
            query=heads * head,
            key_value=(config.get("num_key_value_heads") or heads) * head,
            intermediate=config["intermediate_size"],
            vocabulary=config["vocab_size"],
            tied=bool(config.get("tie_word_embeddings", False)),
        )

    @property
    def parameters(self) -> int:
        """P, but for norms and biases (well under 0.1%)."""
        return self.layers * sum(a * b for a, b in self.linear) + self.vocabulary * self.hidden * (
            2 - self.tied
        )

    @property
    def linear(self) -> list[tuple[int, int]]:
        """(inputs, outputs) of the linear maps of one layer."""
        attention = [
            (self.hidden, self.query),
            (self.query, self.hidden),
            *[(self.hidden, self.key_value)] * 2,
        ]
        return attention + [(self.hidden, self.intermediate)] * 2 + [(self.intermediate, self.hidden)]


# The published shapes of models that presets name, so that a laptop can plan without fetching anything.
KNOWN = {
    "Qwen/Qwen3-0.6B": Shape(28, 1024, 2048, 1024, 3072, 151936, True),
    "Qwen/Qwen3-4B": Shape(36, 2560, 4096, 1024, 9728, 151936, True),
}


def find_shape(model: Mapping[str, Any]) -> Shape | None:
    """The shape of a configuration's `model`: from its directory or the known ones; None where neither has it."""
    name = model.get("name")
    if name in KNOWN:
        return KNOWN[name]
    try:
        return Shape.from_config(json.loads((Path(name or "") / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError):
        return None
