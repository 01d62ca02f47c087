"""Job folders as jobs leave them, written by the real sink and the real result types."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tenyson.jobs.result import JobResult
from tenyson.tasks import Metric
from tenyson.telemetry.events import Event, MetricsLogged, RolloutFinished
from tenyson.telemetry.sinks.jsonl import JsonlSink

Stage = tuple[str, Any, JobResult]


class JobFolders:
    """Makes job folders under one directory."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def job(
        self,
        label: str,
        job: str,
        events: Iterable[Event],
        metrics: Mapping[str, Metric | None],
        **metadata: Any,
    ) -> Stage:
        """A job that ended well."""
        folder = self.root / label
        sink = JsonlSink(None, folder)  # type: ignore[arg-type]
        for event in events:
            sink.write(event)
        sink.close()
        (folder / "config.yaml").write_text(
            f"run: {{id: {label}}}\ntelemetry: {{db_url: 'postgresql://me:hunter2@db/x'}}\n", encoding="utf-8"
        )
        nothing = {"value": None, "n": 0, "low": None, "high": None}
        results = {
            "schema_version": 1,
            "run_id": label,
            "metrics": {name: asdict(metric) if metric else nothing for name, metric in metrics.items()},
            "metadata": {"versions": {"tenyson-core": "0.1.0"}, "provenance": {"lexicon": "abc"}, **metadata},
        }
        (folder / "results.json").write_text(json.dumps(results), encoding="utf-8")
        result = JobResult(label, "success", 65.0, local_output_dir=str(folder))
        result.save(folder / "job_result.json")
        return label, job, result

    def evaluation(self, label: str, skill: float, games: int = 60, **more: Metric | None) -> Stage:
        """An evaluation whose games are won with the probability `skill`, harder secrets less often."""
        draw = random.Random(label)
        wins = [draw.random() < skill * (1.5 - i / games) for i in range(games)]
        events = [
            RolloutFinished(
                run_id=label, phase="eval", training=False, step=0, sample_id=f"word{i:03}", group=f"word{i:03}",
                prompt="Guess a word.", completion=f"```crane``` {label} {i}", reward=float(won) - i / 1000,
                components={"win": float(won)}, info={"guesses": 3 if won else 7},
            )
            for i, won in enumerate(wins)
        ]  # fmt: skip
        metrics = {
            "win_rate": Metric.proportion(sum(wins), games),
            "guesses": Metric.mean([3.0 if won else 7.0 for won in wins]),
            "bits": Metric(2 + skill, games, 1.9 + skill, 2.1 + skill),
            "win_rate/held_out": Metric.proportion(0, 10),
            **more,
        }
        return self.job(
            label, "eval", events, metrics, samples=games, engine="transformers", engine_reason="no GPU"
        )

    def training(self, label: str, job: str, **curves: list[float]) -> Stage:
        """A training job that logged these curves."""
        events = [
            MetricsLogged(run_id=label, phase=job, step=step, values={name: values[step]})  # type: ignore[arg-type]
            for name, values in curves.items()
            for step in range(len(values))
        ]
        return self.job(label, job, events, {}, steps=max(map(len, curves.values()), default=0))


@pytest.fixture
def jobs(tmp_path: Path) -> JobFolders:
    """Makes job folders under the test's own directory."""
    return JobFolders(tmp_path / "outputs")


@pytest.fixture
def stages(jobs: JobFolders) -> list[Stage]:
    """A pipeline that ended well."""
    return [
        jobs.evaluation("baseline", 0.02),
        jobs.training("sft", "sft", loss=[3.0, 2.0, 1.0], eval_loss=[2.5, 1.5]),
        jobs.evaluation("after sft", 0.4),
        jobs.training("rl", "rl", loss=[0.0, 0.1], reward=[0.3, 0.6]),
        jobs.evaluation("after rl", 0.9),
    ]
