"""The contract of a report helper: reports it must be able to take part in, as tests to subclass (needs pytest).

class TestMine(ReportHelperContract):
    helper = staticmethod(my_helper)
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

from tenyson.core.run_folder import EVENTS, RESULTS, RunFolder
from tenyson.errors import ReportError
from tenyson.jobs.result import JobResult
from tenyson.reporting.context import ReportContext
from tenyson.reporting.stage import Stage
from tenyson.tasks import Metric
from tenyson.telemetry.events import Event, MetricsLogged, RolloutFinished
from tenyson.telemetry.sinks.jsonl import JsonlSink

HOSTILE = "<script>alert(1)</script> {steps} | **bold** \x1b[31m \N{SNOWMAN} `"


class ReportHelperContract:
    """Subclass it as `Test...` and set `helper`."""

    helper: ClassVar[staticmethod[[ReportContext], str]]

    def test_an_empty_pipeline_has_a_report(self, tmp_path: Path) -> None:
        """Nothing ran yet: the helper has nothing to say."""
        assert isinstance(self.told([], tmp_path), str)

    def test_stages_that_left_nothing_are_no_trouble(self, tmp_path: Path) -> None:
        """A job failed before it wrote a file, or is still running."""
        failed = Stage("sft", "sft", JobResult("p-sft", "failed", 1.0, failure_reason="it broke"))
        folder = tmp_path / "p-eval"
        folder.mkdir()
        begun = JobResult("p-eval", "success", 1.0, local_output_dir=str(folder))
        assert isinstance(self.told([failed, Stage("eval", "eval", begun, running=True)], tmp_path), str)

    def test_a_finished_pipeline_gives_markdown_without_a_heading(self, tmp_path: Path) -> None:
        """The template has the headings."""
        text = self.told(finished(tmp_path / "outputs"), tmp_path)
        assert isinstance(text, str)
        assert not text.startswith(("# ", "## "))

    def test_a_missing_number_is_told_as_such(self, tmp_path: Path) -> None:
        """`ReportError`, or no mention of it; any other exception is a fault of the helper."""
        stages = finished(tmp_path / "outputs")
        for stage in stages:
            assert stage.folder is not None
            for name in (RESULTS, EVENTS):
                (stage.folder / name).unlink()
        with contextlib.suppress(ReportError):
            assert isinstance(self.told(stages, tmp_path), str)

    def test_the_same_results_give_the_same_text(self, tmp_path: Path) -> None:
        """Reports are compared byte by byte."""
        finished(tmp_path / "outputs")
        first = self.told(finished(tmp_path / "outputs"), tmp_path / "one")
        assert first == self.told(finished(tmp_path / "outputs"), tmp_path / "two")

    def told(self, stages: list[Stage], directory: Path) -> str:
        """What the helper says of these stages."""
        directory.mkdir(parents=True, exist_ok=True)
        return type(self).helper(ReportContext("A title", stages, directory))


def finished(root: Path) -> list[Stage]:
    """A training and an evaluation with rollouts, in folders under `root` as jobs leave them."""
    curve = [MetricsLogged(run_id="p-sft", phase="sft", step=step, values={"loss": 1 / (1 + step)}, time=step)
             for step in range(3)]  # fmt: skip
    rollouts = [
        RolloutFinished(
            run_id="p-eval", phase="eval", training=False, step=0, sample_id=f"s{number}", group=f"s{number}",
            prompt="p", completion=HOSTILE, reward=float(number % 2), components={"right": float(number % 2)},
            info={"guesses": number}, tokens=number, time=number,
        )
        for number in range(6)
    ]  # fmt: skip
    metrics = {"accuracy": asdict(Metric.proportion(3, 6))}
    return [
        _stage(root, "sft", curve, {}),
        _stage(root, "eval", rollouts, metrics),
    ]


def _stage(root: Path, job: Any, events: list[Any], metrics: dict[str, Any]) -> Stage:
    folder = root / f"p-{job}"
    folder.mkdir(parents=True, exist_ok=True)
    RunFolder(folder).events.unlink(missing_ok=True)
    _write_events(folder, events)
    RunFolder(folder).config.write_text(f"run: {{id: p-{job}}}\n", encoding="utf-8")
    results = {
        "schema_version": 1,
        "run_id": f"p-{job}",
        "metrics": metrics,
        "metadata": {"versions": {"tenyson-core": "1"}},
    }
    RunFolder(folder).results.write_text(json.dumps(results), encoding="utf-8")
    result = JobResult(f"p-{job}", "success", 65.0, local_output_dir=str(folder))
    result.save(RunFolder(folder).job_result)
    return Stage(job, job, result)


def _write_events(folder: Path, events: list[Event]) -> None:
    sink = JsonlSink(None, folder)  # type: ignore[arg-type]
    for event in events:
        sink.write(event)
    sink.close()
