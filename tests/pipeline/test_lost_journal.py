"""A journal that was lost, or another one: a pipeline of the same name takes no old job of that name for its own."""

import json
from hashlib import sha256

import pytest
from tests.fakes.file_backend import FileBackend
from tests.fakes.stand_in_job import RUNNER, StandInJob

from tenyson.cloud.local.backend import LocalManager
from tenyson.cloud.watch.follow import PlainFollower
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline import Step, run_pipeline
from tenyson.pipeline.control.launcher import BackendLauncher
from tenyson.pipeline.control.session import Session
from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.graph.policy import FailurePolicy
from tenyson.pipeline.journal.journal import Journal
from tenyson.pipeline.pipeline import Pipeline
from tenyson.pipeline.request import PipelineRequest


@pytest.fixture
def run(tmp_path):
    def run(journal, do="succeed", **training):
        config = {
            "run": {"id": "z-sft", "output_dir": str(tmp_path / "outputs")},
            "task": {"args": {"do": do}},
            "training": training,
        }
        return run_pipeline(
            [Step("sft", config, StandInJob, None)], LocalManager(tmp_path / "outputs", runner=RUNNER), "abort",
            pipeline_id="z", db_url=f"sqlite:///{tmp_path}/{journal}.db",
        )  # fmt: skip

    return run


def test_after_a_lost_database_a_step_runs_anew_and_the_old_jobs_result_is_not_taken_for_its_own(
    run, tmp_path
):
    """The same name and the same run id, with other settings: the folder holds the new job, and the old one in earlier/."""
    run("lost", max_steps=3)
    assert run("new", max_steps=6).status == "success"
    assert "max_steps: 6" in (tmp_path / "outputs" / "z-sft" / "config.yaml").read_text()
    assert "max_steps: 3" in (tmp_path / "outputs" / "z-sft" / "earlier" / "1" / "config.yaml").read_text()


@pytest.mark.slow
def test_a_job_that_still_runs_for_a_lost_database_is_adopted_only_for_the_same_settings(run, tmp_path):
    """Else the step fails, and says what runs there."""
    backend = LocalManager(tmp_path / "outputs", runner=RUNNER).backend
    config = {
        "run": {"id": "z-sft", "output_dir": str(tmp_path / "outputs")},
        "task": {"args": {"do": "slow"}},
        "training": {"max_steps": 3},
    }
    backend.submit(JobSpec("z-sft", "sft", "none:None", config, "the token of then"))
    other = run("other", "slow", max_steps=6)
    assert other.status == "failed"
    assert "a job called z-sft still runs here, with other settings" in other.results["sft"].failure_reason
    assert run("same", "slow", max_steps=3).status == "success"
    assert not (tmp_path / "outputs" / "z-sft" / "earlier").exists()


def test_a_pipeline_that_was_begun_by_an_earlier_version_finds_its_jobs_by_the_token_of_then(tmp_path):
    """Its row has nothing that tells it from others of its name."""
    config = {"run": {"id": "p-a", "output_dir": str(tmp_path / "outputs")}, "task": {"args": {}}}
    definition = Definition("a", JobSpec("p-a", "sft", "none:None", config))
    backend = FileBackend(tmp_path)
    with Journal(f"sqlite:///{tmp_path}/journal.db") as journal:
        journal.create("p", "p", "p", {"kept": 1}, {"a": definition.to_json()})
        with journal.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE pipelines SET plan = ?", (json.dumps({"kept": 1}),))
        Pipeline.open(journal, "p").drive(
            BackendLauncher(backend, PlainFollower()),
            Session(ask=lambda question: None),
            request=PipelineRequest(FailurePolicy("abort")),
        )
    [start] = backend.starts()
    assert start["token"] == sha256(b"p\0a\x001").hexdigest()
