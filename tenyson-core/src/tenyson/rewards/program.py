"""The reward `code`: the reply's program passes the sample's tests."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any

from tenyson.errors import TaskError
from tenyson.rewards.reading.extraction import Extract, fenced, reply_of
from tenyson.rewards.reading.truth import Truth, truth_of, unusable
from tenyson.rewards.sandbox.run import Limits, run
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout

MARGIN = 10_000
"""Characters that a program may print beyond what is expected, before its output counts as wrong."""


@dataclass(frozen=True)
class _Case:
    """A test: either an input with its output, or a piece of code that raises where the program is wrong."""

    stdin: str = ""
    stdout: str | None = None
    test: str | None = None


def code(
    *,
    truth: Truth = "tests",
    extract: Extract | None = None,
    partial: bool = False,
    seconds: float = 5.0,
    total_seconds: float = 60.0,
    memory_mb: int = 1024,
    disk_mb: int = 32,
    files: int = 100,
    packages: bool = False,
    isolated: bool = True,
    name: str = "code",
    weight: float = 1.0,
) -> Reward:
    """1 where the reply's Python program passes all tests of the sample, else 0.

    Each test has a process and an empty folder of its own. On Linux the kernel keeps it from the network, from starting and
    signalling processes, and (with Landlock) from files outside of its folder and of Python. It inherits no variables.

    Args:
        truth: where the tests are. A list of `{"input": ..., "output": ...}`, or `{"inputs": [...], "outputs": [...]}`, runs
            the program with each input and compares what it prints, without blanks at line ends and blank lines at the end. A
            list of texts, or one, holds code that sees the program's names and raises where it is wrong (`assert f(2) == 4`).
        extract: where the program is in the reply; by default in the last block between fences.
        partial: whether a share of the tests is worth its share.
        seconds: of computing time for each test. Sleeping counts too, at three times that and two seconds.
        total_seconds: by the clock, for all tests of a rollout. Those that do not come to run count as failed.
        memory_mb, disk_mb, files: limits of address space; of each file and of the folder; of files in it.
        packages: whether programs may import installed packages, such as numpy.
        isolated: False runs programs with the limits alone, also where there is no Linux. They can then use the network, and
            all that this user can read and write.

    Raises:
        TaskError: a limit is not above 0, or `isolated` is asked for where there is no Linux.
    """
    amounts = {
        "seconds": seconds,
        "total_seconds": total_seconds,
        "memory_mb": memory_mb,
        "disk_mb": disk_mb,
        "files": files,
    }
    for what, amount in amounts.items():
        if not 0 < amount < 1e9:
            raise TaskError(f"the reward {name}: {what} is {amount}; it must be above 0")
    if isolated and platform.system() != "Linux":
        raise TaskError(
            f"the reward {name} runs programs of a model's, and {platform.system()} cannot keep them from the network",
            next_step="Run the job on Linux, or in a container. isolated=False runs them with your own rights.",
        )
    limits = Limits(seconds, memory_mb, disk_mb, files, isolated=isolated, packages=packages)
    find = extract or fenced("python|py|python3")

    def score(rollout: Rollout) -> float | None:
        found = truth_of(rollout.sample, truth, name)
        if found is None:
            return None
        cases = _cases(rollout, found, truth, name)
        program = find(reply_of(rollout))
        if program is None or not _compiles(program):
            return 0.0
        end = time.monotonic() + total_seconds
        passed = 0
        for case in cases:
            if time.monotonic() < end and _passes(program, case, limits):
                passed += 1
            elif not partial:
                return 0.0
        return passed / len(cases)

    return Reward(name, score, weight)


def _passes(program: str, case: _Case, limits: Limits) -> bool:
    if case.stdout is None:
        return run(program, limits, test=case.test).finished
    most = len(case.stdout) + MARGIN
    outcome = run(program, limits, stdin=case.stdin, most=most)
    return outcome.finished and len(outcome.output) < most and _lines(outcome.output) == _lines(case.stdout)


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().splitlines()]


def _compiles(program: str) -> bool:
    """Whether it can be Python at all; a lone surrogate cannot be sent to a process. Compiling is left to that process."""
    try:
        program.encode()
    except UnicodeEncodeError:
        return False
    return bool(program.strip())


def _cases(rollout: Rollout, found: Any, truth: Truth, name: str) -> list[_Case]:
    """The tests of a sample. Raises: TaskError: there are none, or they have another form."""
    if isinstance(found, Mapping) and found.keys() >= {"inputs", "outputs"} and not found.get("fn_name"):
        inputs, outputs = found["inputs"], found["outputs"]
        if _listed(inputs) and _listed(outputs) and len(inputs) == len(outputs):
            found = [{"input": one, "output": other} for one, other in zip(inputs, outputs, strict=True)]
    tests = found if _listed(found) else [found]
    cases = [_case(test) for test in tests]
    if not cases or None in cases:
        raise unusable(
            rollout.sample, truth, name, found,
            'holds no tests (a list of {"input": ..., "output": ...}, or of code that asserts)',
        )  # fmt: skip
    return [case for case in cases if case is not None]


def _case(test: Any) -> _Case | None:
    if isinstance(test, str) and test.strip():
        return _Case(test=test)
    if isinstance(test, Mapping) and test.keys() >= {"input", "output"}:
        stdin, stdout = (_text(test[key]) for key in ("input", "output"))
        if stdin is not None and stdout is not None:
            return _Case(stdin, stdout)
    return None


def _text(value: Any) -> str | None:
    """Text, or lines of it as some data sets have them."""
    if _listed(value) and all(isinstance(line, str) for line in value):
        return "".join(chain.from_iterable(zip(value, repeat("\n"), strict=False)))
    return value if isinstance(value, str) else None


def _listed(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, (str, bytes))
