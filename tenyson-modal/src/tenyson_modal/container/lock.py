"""The lock: which call works on an attempt, and in which of its containers. One attempt runs once, however often it was spawned.

A Volume has nothing that only one of two can do; putting a key into a Dict that is not there yet has.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tenyson_modal.api.plain import drop, get_text


@dataclass(frozen=True)
class Lock:
    """This container's right to work on the attempt."""

    key: str
    call: str
    life: int
    """Number of the container among those of the call, from 1."""
    entries: Any
    """The modal.Dict."""

    @classmethod
    def take(cls, entries: Any, key: str, call: str) -> Lock | str:
        """The lock; or the id of the call that holds it."""
        if entries.put(_name(key), _text(call, 1), skip_if_exists=True):
            return cls(key, call, 1, entries)
        holder, life = _parts(get_text(entries, _name(key)))
        if holder != call:
            return holder
        entries.put(_name(key), _text(call, life + 1))
        return cls(key, call, life + 1, entries)

    def holds(self) -> bool:
        """Whether no later container has taken over: Modal may believe that this one is dead."""
        return _parts(get_text(self.entries, _name(self.key))) == (self.call, self.life)


def holder_of(entries: Any, key: str) -> str | None:
    """The id of the call that works, or worked, on an attempt."""
    try:
        text = get_text(entries, _name(key))
        return None if text is None else _parts(text)[0]
    except ValueError:  # somebody else wrote it
        return None


def forget(entries: Any, key: str) -> None:
    """Whoever worked on the attempt is gone for sure."""
    drop(entries, _name(key))


def _name(key: str) -> str:
    return f"claim/{key}"  # as earlier releases wrote it


def _text(call: str, life: int) -> str:
    return json.dumps({"call": call, "life": life})


def _parts(text: str | None) -> tuple[str, int]:
    try:
        found = json.loads(text) if text else {}
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    if not isinstance(found, dict):
        raise ValueError("it is no lock")
    return str(found.get("call", "")), int(found.get("life", 0))
