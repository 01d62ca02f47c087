"""Did you mean: the nearest valid name for a name that is not valid."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, valid: Iterable[str]) -> str | None:
    """The valid name that `name` most likely stands for; None where nothing is close."""
    plain = {_fold(candidate): candidate for candidate in valid}
    folded = _fold(name)
    if folded in plain:
        return plain[folded]
    matches = difflib.get_close_matches(folded, plain, n=1, cutoff=0.6)
    return plain[matches[0]] if matches else None


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """A suggestion in words; empty where nothing is close."""
    match = nearest(name, valid)
    return f"did you mean {match}?" if match else ""


def _fold(name: str) -> str:
    return name.lower().replace("-", "_").replace(" ", "_")
