"""Stage: one job of a pipeline as a report sees it, with what the job left in its folder."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tenyson.core.run_folder import CONFIG, RESULTS, RunFolder
from tenyson.errors import ReportError, TenysonError
from tenyson.jobs.data.results_file import read_results
from tenyson.jobs.result import JobResult
from tenyson.plugins.job_kind import JobKind
from tenyson.plugins.job_kinds import recorded_kind
from tenyson.tasks.metrics.metric import Metric


@dataclass(frozen=True)
class Stage:
    """One job: its label in the pipeline, its result, and readers of its files."""

    label: str
    """The step's name in the pipeline."""
    job: str
    """The kind of job, by its name."""
    result: JobResult
    """How it ended."""
    running: bool = False
    """Whether it is still at work: what it has written so far is shown, and nothing of it must be there."""

    @property
    def kind(self) -> JobKind:
        """What is known of its kind of job; where that is not installed here, a training's defaults."""
        return recorded_kind(self.job)

    @property
    def status(self) -> str:
        """success, stopped, failed or running."""
        return "running" if self.running else self.result.status

    @property
    def complete(self) -> bool:
        """Whether it succeeded; only then must its numbers be there."""
        return self.status == "success"

    @property
    def folder(self) -> Path | None:
        """The job folder on this machine; None where the job never got so far."""
        return Path(self.result.local_output_dir) if self.result.local_output_dir else None

    @cached_property
    def results(self) -> Mapping[str, Any]:
        """What `results.json` holds; empty for a job that did not succeed and left none.

        Raises: ReportError: a job that succeeded has no such file, or it is not what a job writes.
        """
        text = self._read(RESULTS)
        if text is None:
            return {}
        place = str(RunFolder(self.folder).results) if self.folder else None
        assert self.folder is not None
        try:
            results = read_results(RunFolder(self.folder).results)
        except TenysonError as error:
            raise ReportError(f"missing: results of {self.label}: {error.cause}", place=place) from error
        if "metrics" not in results:
            raise ReportError(f"missing: results of {self.label}: no metrics in it", place=place)
        return results

    @cached_property
    def metrics(self) -> Mapping[str, Metric | None]:
        """Metrics by name; None where there was nothing to measure, as in an empty slice."""
        return {name: _metric(entry) for name, entry in self.results.get("metrics", {}).items()}

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The `metadata` of `results.json`."""
        found: Mapping[str, Any] = self.results.get("metadata") or {}
        return found

    @cached_property
    def config(self) -> str | None:
        """The resolved configuration as YAML text; None for a job that did not succeed and left none."""
        return self._read(CONFIG)

    @cached_property
    def record(self) -> Record:
        """What `events.jsonl` tells. An attempt that repeats a step replaces it."""
        path = RunFolder(self.folder).events if self.folder else None
        if path is None or not path.is_file():
            if self.complete:
                raise ReportError(
                    f"missing: events.jsonl of {self.label}",
                    place=str(path or ""),
                    next_step="Keep the jsonl sink on.",
                )
            return Record()
        record = Record()
        for event in _events(path, rollouts=not self.kind.trains):
            kind = event.get("event")
            if kind == "RunStarted":
                record.rollouts.clear()
            elif kind == "MetricsLogged":
                for name, value in event["values"].items():
                    record.curves.setdefault(name, {})[event["step"]] = float(value)
            elif kind == "RolloutFinished":
                record.rollouts.append(event)
        return record

    @cached_property
    def quantities(self) -> Mapping[str, list[tuple[str, float]]]:
        """What each rollout of an evaluation was worth: (sample id, value) by name of the quantity.

        Quantities are the reward, its components, `truncated`, and numbers and truth values of the environment's info.
        """
        found: dict[str, list[tuple[str, float]]] = {}
        for rollout in self.record.rollouts:
            candidates = {
                **rollout.get("info", {}),
                **rollout.get("components", {}),
                "reward": rollout.get("reward"),
                "truncated": rollout.get("finish_reason") == "length",
            }
            for name, value in candidates.items():
                if isinstance(value, (bool, int, float)):
                    found.setdefault(name, []).append((rollout["sample_id"], float(value)))
        return found

    def _read(self, name: str) -> str | None:
        path = self.folder / name if self.folder else None
        if path is not None and path.is_file():
            return path.read_text(encoding="utf-8")
        if self.complete:
            raise ReportError(f"missing: {name} of {self.label}", place=str(path) if path else None)
        return None


@dataclass
class Record:
    """The events of one job, sorted for a report."""

    curves: dict[str, dict[int, float]] = field(default_factory=dict)
    """Value by step, by name of the metric."""
    rollouts: list[Mapping[str, Any]] = field(default_factory=list)
    """Fields of each RolloutFinished of an evaluation; empty for training, whose rollouts are too many."""


def _events(path: Path, *, rollouts: bool) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not rollouts and '"RolloutFinished"' in line[:80]:
                continue
            try:
                event = json.loads(line)
            except ValueError as error:
                if not line.endswith("\n"):
                    return  # A job that was killed may leave half a line at the end.
                raise ReportError(f"not an event: {error}", place=f"{path}:{number}") from error
            if isinstance(event, dict):
                yield event


def _metric(entry: Mapping[str, Any]) -> Metric | None:
    value = entry.get("value")
    if value is None:
        return None
    low, high = entry.get("low"), entry.get("high")
    nan = float("nan")
    return Metric(value, entry.get("n", 0), nan if low is None else low, nan if high is None else high)
