"""Replay: the replies of a rollout that the world broke, given again to a fresh environment.

The model is not asked again for what it has said, so that trying again prefers no reply over another. Where the fresh environment
answers otherwise than the broken one did, the replies after that answer were never given to it: they are dropped, and the model is
asked from there.
"""

from __future__ import annotations

from tenyson.engines.engine import Reply


class Replay:
    """What a rollout consists of so far: P prompt tokens, then a reply and an answer of the environment in turn."""

    def __init__(self) -> None:
        self._replies: list[Reply] = []
        self._heard: list[list[int]] = []
        """Ids of the prompt, and of each answer to a reply."""

    def reply(self, turn: int) -> Reply | None:
        """The model's reply of this turn (from 0), where it has said one."""
        return self._replies[turn] if turn < len(self._replies) else None

    def said(self, reply: Reply) -> None:
        """The model's reply of the next turn."""
        self._replies.append(reply)

    def heard(self, turn: int, ids: list[int]) -> None:
        """What the model reads before its reply of this turn (from 0)."""
        if turn < len(self._heard) and self._heard[turn] == ids:
            return
        del self._heard[turn:], self._replies[turn:]
        self._heard.append(ids)
