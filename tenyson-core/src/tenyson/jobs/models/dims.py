"""The dimensions of a model, from which its memory is estimated: read from config.json or known."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Dims:
    """The dimensions of a decoder with a gated MLP (Llama, Qwen, Mistral and their kin)."""

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
    def from_config(cls, config: Mapping[str, Any]) -> Dims:
        """Read a model's config.json. Raises: KeyError where it describes another kind of model."""
        if any((config.get(key) or 1) > 1 for key in _EXPERTS):
            raise KeyError("a mixture of experts")
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


_EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")

# The published shapes of models that many start from, so that a laptop can plan without fetching anything.
KNOWN = {
    "HuggingFaceTB/SmolLM2-135M": Dims(30, 576, 576, 192, 1536, 49152, True),
    "HuggingFaceTB/SmolLM2-360M": Dims(32, 960, 960, 320, 2560, 49152, True),
    "HuggingFaceTB/SmolLM2-1.7B": Dims(24, 2048, 2048, 2048, 8192, 49152, True),
    "Qwen/Qwen2.5-0.5B": Dims(24, 896, 896, 128, 4864, 151936, True),
    "Qwen/Qwen2.5-1.5B": Dims(28, 1536, 1536, 256, 8960, 151936, True),
    "Qwen/Qwen2.5-3B": Dims(36, 2048, 2048, 256, 11008, 151936, True),
    "Qwen/Qwen2.5-7B": Dims(28, 3584, 3584, 512, 18944, 152064, False),
    "Qwen/Qwen3-0.6B": Dims(28, 1024, 2048, 1024, 3072, 151936, True),
    "Qwen/Qwen3-1.7B": Dims(28, 2048, 2048, 1024, 6144, 151936, True),
    "Qwen/Qwen3-4B": Dims(36, 2560, 4096, 1024, 9728, 151936, True),
    "Qwen/Qwen3-8B": Dims(36, 4096, 4096, 1024, 12288, 151936, False),
    "meta-llama/Llama-3.2-1B": Dims(16, 2048, 2048, 512, 8192, 128256, True),
    "meta-llama/Llama-3.2-3B": Dims(28, 3072, 3072, 1024, 8192, 128256, True),
    "meta-llama/Llama-3.1-8B": Dims(32, 4096, 4096, 1024, 14336, 128256, False),
}
"""By the name of the base model; an instruction-tuned one has the dimensions of its base."""


def find_dims(model: Mapping[str, Any]) -> Dims | None:
    """The dimensions of a configuration's `model`; None where nothing here tells it. Fetches nothing.

    Read from its directory, or what the Hub's cache holds of it, or known.
    """
    name = str(model.get("name") or "")
    for directory in (
        Path(name).expanduser() if name else None,
        _cached(name, str(model.get("revision") or "main")),
    ):
        try:
            if directory is not None:
                return Dims.from_config(json.loads((directory / "config.json").read_text(encoding="utf-8")))
        except OSError:
            continue
        except (ValueError, KeyError, TypeError, ArithmeticError, AttributeError, RecursionError):
            return None
    return KNOWN.get(name) or KNOWN.get(name.removesuffix("-Instruct").removesuffix("-Base"))


def _cached(name: str, revision: str) -> Path:
    """The snapshot of a repository in the Hub's cache, read as huggingface_hub lays it out: a laptop may be without it."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub").expanduser()
    repository = cache / f"models--{name.replace('/', '--')}"
    with suppress(OSError):  # a commit names its snapshot itself
        revision = (repository / "refs" / revision).read_text(encoding="utf-8").strip()
    return repository / "snapshots" / revision
