"""An environment of verifiers, as its own documentation has them: reply in small letters."""

from __future__ import annotations

import verifiers.v1 as vf

__all__ = ["SmallLettersTaskset"]

WORDS = ("sun", "sea", "oak", "fog", "owl", "rye", "ice", "elm")


class LettersData(vf.TaskData):
    """Nothing beside the prompt."""


class LettersTask(vf.Task[LettersData]):
    @vf.reward(weight=1.0)
    async def small(self, trace: vf.Trace) -> float:
        """The share of small letters."""
        reply = trace.last_reply
        return sum("a" <= one <= "z" for one in reply) / max(1, len(reply))

    @vf.metric
    async def length(self, trace: vf.Trace) -> float:
        """Characters of the reply."""
        return float(len(trace.last_reply))


class LettersConfig(vf.TasksetConfig):
    number: int = 200
    """Tasks."""


class SmallLettersTaskset(vf.Taskset[LettersTask, LettersConfig]):
    def load(self) -> list[LettersTask]:
        return [
            LettersTask(LettersData(prompt=WORDS[index % len(WORDS)]), self.config.task)
            for index in range(self.config.number)
        ]
