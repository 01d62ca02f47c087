"""Decision: what shall happen after a step failed, and who is asked."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TextIO

from tenyson.jobs.result import JobResult
from tenyson.stdio import is_terminal, say

Decision = Literal["resume", "restart", "continue", "abort"]

MEANINGS: Mapping[Decision, str] = {
    "resume": "go on from the latest checkpoint",
    "restart": "run this step again from scratch",
    "continue": "accept what there is and go on",
    "abort": "end the pipeline",
}
_KEYS: Mapping[str, Decision] = {"r": "resume", "s": "restart", "c": "continue", "a": "abort"}
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Question:
    """A failed step that somebody has to decide on."""

    pipeline: str
    label: str
    result: JobResult
    choices: tuple[Decision, ...]
    """What is possible: there is nothing to resume without a checkpoint."""
    closed: Callable[[], bool] = lambda: False
    """Whether it was answered elsewhere, or nobody listens any more."""


Ask = Callable[[Question], Decision | None]
"""Waits for an answer for as long as it takes. None: nobody here can say, or the question is closed."""


def ask_terminal(
    question: Question, stdin: TextIO | None = None, stderr: TextIO | None = None
) -> Decision | None:
    """Ask at the terminal until there is an answer, here or elsewhere. None without a terminal, and at its end (Ctrl-D)."""
    stdin, stderr = stdin or sys.stdin, stderr or sys.stderr
    if stdin is None or not is_terminal(stdin):
        return None
    keys = {key: decision for key, decision in _KEYS.items() if decision in question.choices}
    say(f"What shall become of step {question.label} ({question.result.run_id})?", stream=stderr)
    for key, decision in keys.items():
        say(f"  {key}  {decision:<9} {MEANINGS[decision]}", stream=stderr)
    prompt = f"[{'/'.join(keys)}] "
    say(prompt, end="", stream=stderr)
    while not question.closed():
        # Not a blocking read: the answer may come from elsewhere, and then this line is somebody else's.
        if not select.select([stdin], [], [], _LOOK_SECONDS)[0]:
            continue
        line = stdin.readline()
        if not line:
            return None
        answer = line.strip().lower()
        for key, decision in keys.items():
            if answer in (key, decision):
                return decision
        say(prompt, end="", stream=stderr)
    say("", stream=stderr)
    return None
