"""Decision: what shall happen after a step failed, and who is asked."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TextIO

from tenyson.config.explain import did_you_mean
from tenyson.core.stdio import is_terminal, say
from tenyson.jobs.result import JobResult

Decision = Literal["resume", "restart", "continue", "abort"]

MEANINGS: Mapping[Decision, str] = {
    "resume": "resume from the latest checkpoint",
    "restart": "run this step again from scratch",
    "continue": "accept the results so far and continue",
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
    say(f"Step {question.label} (run {question.result.run_id}) failed. What next?", stream=stderr)
    for key, decision in keys.items():
        say(f"  {key}  {decision:<9} {MEANINGS[decision]}", stream=stderr)
    prompt = f"[{'/'.join(keys)}] "
    say(prompt, end="", stream=stderr)
    while not question.closed():
        # Not a blocking read: the answer may come from elsewhere, and then this line is somebody else's.
        if not select.select([stdin], [], [], _LOOK_SECONDS)[0]:
            continue
        if _is_in_background(stdin):
            # Reading would stop this process (SIGTTIN); what is typed is the shell's.
            time.sleep(_LOOK_SECONDS)
            continue
        line = stdin.readline()
        if not line:
            return None
        answer = line.strip().lower()
        for key, decision in keys.items():
            if answer in (key, decision):
                return decision
        if answer:
            say(_why_not(answer, question, keys), stream=stderr)
        say(prompt, end="", stream=stderr)
    say("", stream=stderr)
    return None


def not_possible(answer: object, question: Question) -> str:
    """Why an answer does not count, with the nearest one that does."""
    if isinstance(answer, str) and answer in MEANINGS:
        reason = " (it left no checkpoint)" if answer == "resume" else ""
        return (
            f"{answer} is not possible for step {question.label}{reason}: {', '.join(question.choices)} are"
        )
    near = did_you_mean(str(answer), question.choices)
    return f"{str(answer)[:40]!r} is no answer: {near or ', '.join(question.choices)}"


def _why_not(answer: str, question: Question, keys: Mapping[str, Decision]) -> str:
    said = _KEYS.get(answer, answer)
    return f"{not_possible(said, question)} (type {', '.join(keys)} or the word)"


def _is_in_background(stdin: TextIO) -> bool:
    """Whether the terminal is another job's of the shell: this one was started with `&`, or by `bg`."""
    try:
        return os.tcgetpgrp(stdin.fileno()) != os.getpgrp()
    except (OSError, ValueError):
        return False  # not the terminal that controls this process
