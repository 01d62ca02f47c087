"""The claim: which call works on an attempt, and in which of its containers. One attempt runs once, however often it was spawned.

A Volume has nothing that only one of two can do; putting a key into a Dict that is not there yet has.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Claim:
    """This container's right to work on the attempt."""

    key: str
    call: str
    life: int
    """Number of the container among those of the call, from 1."""
    entries: Any
    """The modal.Dict."""

    @classmethod
    def take(cls, entries: Any, key: str, call: str) -> Claim | str:
        """Our claim; or the id of the call that has it."""
        if entries.put(_name(key), _text(call, 1), skip_if_exists=True):
            return cls(key, call, 1, entries)
        owner, life = _parts(entries.get(_name(key)))
        if owner != call:
            return owner
        entries.put(_name(key), _text(call, life + 1))
        return cls(key, call, life + 1, entries)

    def holds(self) -> bool:
        """Whether no later container has taken over: Modal may believe that this one is dead."""
        return _parts(self.entries.get(_name(self.key))) == (self.call, self.life)


def claimed_by(entries: Any, key: str) -> str | None:
    """The id of the call that works, or worked, on an attempt."""
    text = entries.get(_name(key))
    return None if text is None else _parts(text)[0]


def forget(entries: Any, key: str) -> None:
    """Whoever worked on the attempt is gone for sure."""
    entries.pop(_name(key), None)


def _name(key: str) -> str:
    return f"claim/{key}"


def _text(call: str, life: int) -> str:
    return json.dumps({"call": call, "life": life})


def _parts(text: str | None) -> tuple[str, int]:
    found = json.loads(text) if text else {}
    return str(found.get("call", "")), int(found.get("life", 0))
