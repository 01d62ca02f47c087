"""Facts of a tokenizer that the renderer's fingerprint holds."""

from __future__ import annotations

import json
from typing import Any


def tokenizer_facts(tokenizer: Any) -> Any:
    """All that decides which ids a text gets: the same vocabulary may be used with other merges or other spelling."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # one written in Python alone, whose rules are code
        return sorted(tokenizer.get_vocab().items())
    facts = json.loads(backend.to_str())
    # Set by whoever called it last; nobody here has a prompt padded or cut by the tokenizer.
    return {name: value for name, value in facts.items() if name not in ("padding", "truncation")}
