"""The contract of a kind of job: what the command line, pipelines, reports and resumes rely on (needs pytest and torch).

class TestMine(JobContract):
    plugin = "my_plugin"  # the module with the hook
    name = "mine"

    @pytest.fixture
    def task(self):
        return MyTask()
"""

from __future__ import annotations

import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tenyson.core.run_folder import RunFolder
from tenyson.jobs.job import Job
from tenyson.jobs.result import JobResult
from tenyson.plugins.job_kind import JobKind
from tenyson.plugins.job_kinds import job_class, job_kind
from tenyson.tasks import TaskPlugin

PARTS = ("trl_config", "arguments", "memory", "preflight")


class JobContract:
    """Subclass it as `Test...`, set `plugin` and `name`, and give the fixture `task`."""

    plugin: ClassVar[str]
    """The module with the hook `tenyson_jobs`; it need not be installed."""
    name: ClassVar[str]
    """The kind of job."""

    @pytest.fixture
    def task(self) -> TaskPlugin:
        """A task that serves the job."""
        raise NotImplementedError("give a fixture `task`")

    @pytest.fixture
    def config(self, tmp_path: Path) -> dict[str, Any]:
        """A configuration that ends within seconds; its model is tiny."""
        return {
            "model": {"factory": "tenyson.testing.tiny:build"},
            "run": {"output_dir": str(tmp_path / "outputs")},
            "training": {"max_steps": 4, "batch_size": 2, "save_steps": 2, "logging_steps": 1},
            "evaluation": {"samples": 4},
            "generation": {"max_new_tokens": 8},
            "telemetry": {"db_url": f"sqlite:///{tmp_path / 'telemetry.db'}"},
        }

    @pytest.fixture
    def kind(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> JobKind:
        """The kind, found as an installed plugin's is, here and in processes that are started."""
        if not any(point.value == self.plugin for point in metadata.entry_points(group="tenyson")):
            site = tmp_path / "site"
            info = site / "contract_of_jobs-0.dist-info"
            info.mkdir(parents=True)
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: contract-of-jobs\nVersion: 0\n")
            (info / "entry_points.txt").write_text(f"[tenyson]\n{self.name} = {self.plugin}\n")
            monkeypatch.syspath_prepend(str(site))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        return job_kind(self.name)

    @pytest.fixture
    def job(self, kind: JobKind, config: dict[str, Any], task: TaskPlugin) -> Job:
        """A job of that kind."""
        return job_class(kind.name)(config, task)

    def test_its_descriptor_names_what_exists(self, kind: JobKind, task: TaskPlugin) -> None:
        """Its class bears its name; each part can be imported; the task has the samples that it reads."""
        assert job_class(kind.name).job_type == kind.name
        assert kind.summary
        for part in PARTS:
            assert getattr(kind, part) is None or kind.part(part) is not None
        assert not kind.samples or hasattr(task, kind.samples)

    def test_importing_it_needs_no_torch(self, kind: JobKind) -> None:
        """Listings import the plugin, and a controller imports the class."""
        import subprocess

        code = (
            f"import sys, {self.plugin}; from tenyson.plugins.job_kinds import job_class; job_class({kind.name!r});"
            "sys.exit('torch' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    def test_doctor_has_nothing_against_it(self, job: Job) -> None:
        """What can be examined before it runs is examined without an error."""
        from tenyson.jobs.preflight.examine import Examination

        examined = Examination(job)
        examined.run()
        assert [one for one in examined.findings if one.severity == "error"] == []

    def test_it_runs_to_its_end(self, job: Job, kind: JobKind) -> None:
        """It leaves its results, records its numbers under its phase, and leaves a model if it trains."""
        result = job.run()
        assert result.status == "success"
        folder = RunFolder(Path(str(result.local_output_dir)))
        assert JobResult.load(folder.job_result) == result
        events = [json.loads(line) for line in folder.events.read_text(encoding="utf-8").splitlines()]
        began = [one for one in events if one["event"] in ("RunStarted", "AttemptBegan")]
        assert [one["event"] for one in began] == ["RunStarted", "AttemptBegan"]
        assert began[0]["job_type"] == kind.name
        logged = [one for one in events if one["event"] == "MetricsLogged"]
        assert {one["phase"] for one in logged} <= {kind.phase}
        assert set(kind.logs) <= {name for one in logged for name in one["values"]}
        assert (folder.adapter.is_dir() or folder.model.is_dir()) == kind.trains

    def test_a_resumed_training_is_the_same_training(self, job: Job, kind: JobKind, tmp_path: Path) -> None:
        """Killed and resumed, every number and weight is the same to the bit. For kinds that train."""
        from tenyson.jobs.checkpoints.verification import verify_resume

        if not kind.trains:
            return
        verdict = verify_resume(job.spec(), tmp_path / "verified", lambda last: [last - 1], print)
        assert verdict.identical, verdict.differences
