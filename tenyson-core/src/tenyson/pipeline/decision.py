"""Decision: what shall happen after a step failed, as a person at the terminal says."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Literal, TextIO, get_args

from tenyson.errors import ConfigError, Problem
from tenyson.jobs.result import JobResult

Decision = Literal["resume", "restart", "continue", "abort"]
OnFailure = Literal["wait", "abort", "continue"]
Ask = Callable[[str, JobResult, Sequence[Decision]], Decision]
"""Given a step's label, its failed result and what is possible; waits for as long as it takes."""

_MEANINGS: dict[Decision, str] = {
    "resume": "go on from the latest checkpoint",
    "restart": "run this step again from scratch",
    "continue": "leave this step failed and go on with the next one",
    "abort": "end the pipeline",
}
_KEYS: dict[str, Decision] = {"r": "resume", "s": "restart", "c": "continue", "a": "abort"}


def check_policy(on_failure: str) -> None:
    """Raises: ConfigError, where `on_failure` is not one of wait, abort and continue."""
    if on_failure not in get_args(OnFailure):
        known = ", ".join(get_args(OnFailure))
        raise ConfigError(
            [Problem(f"there is no {on_failure!r}", key="on_failure", suggestion=f"one of {known}")]
        )


def ask_terminal(
    label: str,
    result: JobResult,
    choices: Sequence[Decision],
    stdin: TextIO | None = None,
    stderr: TextIO | None = None,
) -> Decision:
    """Ask at the terminal until there is an answer. Without a terminal, or at its end (Ctrl-D): abort, and say so."""
    stdin, stderr = stdin or sys.stdin, stderr or sys.stderr
    if stdin is None or stdin.closed or not stdin.isatty():
        print(
            f"nobody can be asked about step {label}, since there is no terminal: the pipeline is aborted",
            file=stderr,
        )
        return "abort"
    keys = {key: decision for key, decision in _KEYS.items() if decision in choices}
    print(f"What shall become of step {label} ({result.run_id})?", file=stderr)
    for key, decision in keys.items():
        print(f"  {key}  {decision:<9} {_MEANINGS[decision]}", file=stderr)
    while True:
        print(f"[{'/'.join(keys)}] ", end="", file=stderr, flush=True)
        try:
            line = stdin.readline()
        except KeyboardInterrupt:
            line = ""
        answer = line.strip().lower()
        if not line:
            print("abort", file=stderr)
            return "abort"
        for key, decision in keys.items():
            if answer in (key, decision):
                return decision
