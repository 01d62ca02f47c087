"""Verification of resume: the same training uninterrupted, and killed and resumed, compared to the bit.

Every run is a process of its own, killed with SIGKILL, which no code can catch.
"""

from __future__ import annotations

import contextlib
import copy
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenyson.core.files.digest import file_sha256
from tenyson.core.run_folder import RunFolder
from tenyson.errors import TenysonError
from tenyson.jobs.spec import JobSpec

POLL_SECONDS = 0.01
SHOWN = 5
"""Differences that are listed."""
LOG_LINES = 12
"""Of a training that failed."""
_TIMES = ("_runtime", "_per_second", "step_time")
"""Ends of the names of numbers that tell how long something took."""


@dataclass(frozen=True)
class Kill:
    """One interruption."""

    after: int
    """The last step that the killed process recorded."""
    resumed_from: int
    """The step of the checkpoint that the next one resumed from; 0 if there was none yet."""

    @property
    def lost(self) -> int:
        """Steps that were trained a second time."""
        return self.after - self.resumed_from


@dataclass(frozen=True)
class Comparison:
    """What became of it."""

    steps: int
    kills: tuple[Kill, ...]
    numbers: int
    """Logged numbers that were compared."""
    rollouts: int
    """Rollouts that were compared: text, rewards, advantage."""
    differences: tuple[str, ...]
    """The first few, in words; empty where all is identical."""

    @property
    def identical(self) -> bool:
        """Whether every number, every rollout and every weight is the same to the bit."""
        return not self.differences


def verify_resume(
    spec: JobSpec,
    folder: Path,
    kills: Callable[[int], Sequence[int]],
    say: Callable[[str], None],
    *,
    processes: int = 1,
) -> Comparison:
    """Train whole, train with kills, compare. With several `processes`, each run is started by torchrun.

    `kills` makes of the number of steps those that are killed at, each once it is recorded; half-way where it gives none.

    Raises:
        TenysonError: a training fails, or ends before it could be killed; or nothing was resumed, so nothing is proven.
    """
    if (folder / "whole").exists() or (folder / "killed").exists():
        raise TenysonError(
            "runs are here already", place=str(folder), next_step="Name another folder, or remove it."
        )
    config = _quiet(spec.config, folder)
    training = config["training"]
    if training["max_steps"]:
        _choose(kills, training["max_steps"])  # a step that never comes is refused before anything is trained
    say("training without interruption")
    whole = _start(spec, config, folder, "whole", processes)
    _finish(whole, folder, "whole")
    expected = read_record(RunFolder(folder / "whole"))
    steps = expected.steps
    chosen = _choose(kills, steps)
    if not training["save_steps"] and not training["early_stopping_patience"]:
        training["save_steps"] = max(1, steps // 4)
    done: list[int] = []
    for number, kill in enumerate(chosen):
        process = _start(spec, config, folder, "killed", processes, resume=number > 0)
        due = 0 if done else _last_multiple(training["save_steps"], kill)
        done.append(_kill_after(process, kill, folder / "killed", attempt=number, due=due))
        say(f"killed after step {done[-1]} of {steps}")
    process = _start(spec, config, folder, "killed", processes, resume=True)
    _finish(process, folder, "killed")
    begun = [event["step"] for event in _events(folder / "killed") if event["event"] == "AttemptBegan"]
    if not any(begun[1:]):
        raise TenysonError(
            f"nothing was resumed: the kill after step {done[-1]} came before the first checkpoint was published, so the "
            "training started over",
            place=str(folder / "killed.log"),
            next_step="Kill later (--kill-after STEP), or save more often (--set training.save_steps=N).",
        )
    found = read_record(RunFolder(folder / "killed"))
    return Comparison(
        steps=steps,
        kills=tuple(map(Kill, done, begun[1:])),
        numbers=sum(map(len, expected.numbers.values())),
        rollouts=len(expected.rollouts),
        differences=tuple(expected.differences(found)),
    )


def _choose(kills: Callable[[int], Sequence[int]], steps: int) -> list[int]:
    """The steps to kill at, in order. Raises: TenysonError: one of them is not before the last step."""
    chosen = sorted(kills(steps)) or [max(1, steps // 2)]
    if chosen[-1] >= steps:
        raise TenysonError(
            f"a training that ends at step {steps} cannot be killed after step {chosen[-1]} and then be resumed",
            next_step="Choose a smaller step (--kill-after STEP), or train longer (--set training.max_steps=N).",
        )
    return chosen


@dataclass(frozen=True)
class Record:
    """What a run recorded, without what a later attempt repeated."""

    numbers: Mapping[int, Mapping[str, float]]
    """By step, without times."""
    rollouts: tuple[tuple[Any, ...], ...]
    weights: Mapping[str, str]
    """SHA-256 of the files of the trained adapter or model."""

    @property
    def steps(self) -> int:
        """The last one."""
        return max(self.numbers, default=0)

    def differences(self, other: Record) -> Iterable[str]:
        """In words, the first few."""
        found = []
        for step in sorted(self.numbers.keys() | other.numbers.keys()):
            mine, theirs = self.numbers.get(step, {}), other.numbers.get(step, {})
            found += [
                f"step {step}: {name} is {mine.get(name)} without and {theirs.get(name)} with interruption"
                for name in sorted(mine.keys() | theirs.keys())
                if not _same(mine.get(name), theirs.get(name))
            ]
        if len(self.rollouts) != len(other.rollouts):
            found.append(f"{len(self.rollouts)} rollouts without and {len(other.rollouts)} with interruption")
        found += [
            f"a rollout of step {mine[0]} on {mine[1]} differs"
            for mine, theirs in zip(self.rollouts, other.rollouts, strict=False)
            if mine != theirs
        ]
        found += [
            f"the trained weights differ: {name}"
            for name in sorted(self.weights.keys() | other.weights.keys())
            if self.weights.get(name) != other.weights.get(name)
        ]
        rest = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        return found[:SHOWN] + rest


def read_record(folder: RunFolder) -> Record:
    """Read events.jsonl and the trained weights of a finished run."""
    numbers: dict[int, dict[str, float]] = {}
    rollouts: list[tuple[Any, ...]] = []
    for event in _events(folder.path):
        if event["event"] == "AttemptBegan":
            begun = event["step"]
            numbers = {step: values for step, values in numbers.items() if step <= begun and begun}
            rollouts = [one for one in rollouts if one[0] + one[2] <= begun and begun]
        elif event["event"] == "MetricsLogged":
            kept = {name: value for name, value in event["values"].items() if not name.endswith(_TIMES)}
            numbers.setdefault(event["step"], {}).update(kept)
        elif event["event"] == "RolloutFinished":
            rollouts.append(
                (event["step"], event["sample_id"], event["training"], event["completion"], event["reward"],
                 event["advantage"])
            )  # fmt: skip
    output = folder.adapter if folder.adapter.is_dir() else folder.model
    weights = {path.name: file_sha256(path) for path in output.glob("*.safetensors")}
    # Several processes write as they come.
    return Record(numbers, tuple(sorted(rollouts, key=repr)), weights)


def _quiet(config: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The same training, recorded in files alone."""
    quiet = copy.deepcopy(dict(config))
    # Names of earlier runs mean folders in the output directory, which is another one here.
    for key, part in (("name", "model"), ("adapter", "adapter")):
        reference = quiet["model"][key]
        trained = RunFolder.of(quiet["run"]["output_dir"], reference or "").path / part
        if reference and trained.is_dir():
            quiet["model"][key] = str(trained.absolute())
    quiet["run"] |= {"output_dir": str(folder)}
    quiet["telemetry"] |= {"sinks": ["jsonl"], "db_url": None}
    quiet["wandb"] |= {"project": None}
    quiet["hub"] |= {"repo_id": None}
    quiet["training"] |= {"resume_from_checkpoint": None}
    return quiet


def _start(
    spec: JobSpec, config: dict[str, Any], folder: Path, name: str, processes: int, *, resume: bool = False
) -> Any:
    config = {**config, "run": {**config["run"], "id": name}}
    file = folder / f"{name}.json"
    file.write_text(json.dumps(config, indent=1), encoding="utf-8")
    command = [sys.executable, "-m"]
    if processes > 1:
        command += ["torch.distributed.run", "--standalone", f"--nproc_per_node={processes}", "-m"]
    command += [
        "tenyson.runner",
        "--job-type",
        spec.job_type,
        "--config",
        str(file),
        "--task-module",
        spec.task,
    ]
    command += ["--resume-from-checkpoint", "latest"] if resume else []
    with (folder / f"{name}.log").open("ab") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)


def _finish(process: Any, folder: Path, name: str) -> None:
    if process.wait() != 0:
        log = folder / f"{name}.log"
        end = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES:]
        raise TenysonError(
            "\n  | ".join([f"the training failed with status {process.returncode}; its log ends with", *end]),
            place=str(log),
            next_step="Run the job alone first: tenyson run --job ... --config ...",
        )


def _last_multiple(of: int | None, limit: int) -> int:
    """The last multiple of a number up to a limit; 0 where there is none."""
    return limit // of * of if of else 0


def _kill_after(process: Any, step: int, run: Path, *, attempt: int, due: int) -> int:
    """Kill as soon as the step is recorded, or its checkpoint or a later one is published; returns the last step recorded.

    Checkpoints are published in the background, on a busy machine some steps later: where one is `due` by then, a kill before
    any is published would prove nothing, so it waits for the first.
    """
    pointer, progress = RunFolder(run).latest_checkpoint, _Progress(run)
    try:
        while process.poll() is None:
            time.sleep(POLL_SECONDS)
            if (reached := progress.of(attempt)) is None:
                continue
            latest = pointer.read_text().strip().removeprefix("step-") if pointer.exists() else ""
            published = int(latest) if latest.isdecimal() else 0
            if published >= step or (reached >= step and (published or not due)):
                _kill(process.pid)
                process.wait()
                return progress.of(attempt) or 0
    finally:
        if process.poll() is None:
            _kill(process.pid)
            process.wait()
    raise TenysonError(
        f"the training ended before it could be killed after step {step}",
        place=str(run.with_suffix(".log")),
        next_step="Choose a smaller step, or train longer.",
    )


class _Progress:
    """How far a run's attempts have come, by what is recorded; each line is read once."""

    def __init__(self, run: Path) -> None:
        self._path = RunFolder(run).events
        self._read = 0
        self._steps: list[int] = []

    def of(self, attempt: int) -> int | None:
        """The last step that an attempt (from 0) has recorded; None where it has not begun."""
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                whole = file.read().rpartition(b"\n")[0]  # the last line may be half written
            if whole:
                self._read += len(whole) + 1
                for event in map(json.loads, whole.split(b"\n")):
                    self._take(event)
        return self._steps[attempt] if attempt < len(self._steps) else None

    def _take(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "AttemptBegan":
            self._steps.append(event["step"])
        elif event["event"] == "MetricsLogged":
            self._steps[-1] = event["step"]


def _kill(pid: int) -> None:
    """A process and all that it has started: torchrun gives each of its own a session."""
    import psutil

    parent = psutil.Process(pid)
    for process in (*parent.children(recursive=True), parent):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _events(run: Path) -> list[dict[str, Any]]:
    """All that a run that has ended recorded."""
    return [json.loads(line) for line in RunFolder(run).events.read_bytes().splitlines()]


def _same(one: float | None, other: float | None) -> bool:
    return one == other or (one != one and other != other)
