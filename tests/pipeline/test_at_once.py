"""The same thing asked for twice at once: one command does it, the other one is refused by name, and nothing is done twice."""

import pytest
from tests.fakes.project import Project, release, wait_for_start
from tests.fakes.stand_in_job import RUNNER, StandInJob

from tenyson.cloud.local.backend import LocalManager
from tenyson.pipeline import Step, run_pipeline
from tenyson.pipeline.journal.journal import Journal

QUICK = {"TENYSON_LEASE_SECONDS": "3"}


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path)
    project.write()
    (tmp_path / "hold-sft").touch()
    return project


@pytest.mark.slow
@pytest.mark.parametrize("words", [(), ("--run-id", "exp")])
def test_the_same_command_twice_at_once_is_one_pipeline(project, words):
    """Without a database before them; the second one names who is at work, and starts nothing."""
    both = [project.start("run", "exp.yaml", *words, **QUICK) for _ in range(2)]
    waiting = both.copy()
    while len(waiting) == 2:
        waiting = [process for process in both if process.poll() is None]
    [refused] = [process for process in both if process not in waiting]
    assert refused.returncode == 2
    said = refused.stdout.read()
    assert "is driven by process" in said
    assert "Traceback" not in said
    release(project.folder, "sft")
    assert waiting[0].wait(60) == 0
    assert sorted(start.rpartition("-")[2] for start in project.starts) == ["after", "sft"]
    with Journal(f"sqlite:///{project.folder}/tenyson_telemetry.db", read_only=True) as journal:
        assert len(journal.pipelines()) == 1


@pytest.mark.slow
def test_two_attaches_that_try_again_at_once_try_each_step_once(project):
    """Between looking for what failed and taking the pipeline, the other command has opened it again."""
    (project.folder / "hold-sft").unlink()
    (project.folder / "fail-after").touch()
    assert project.run("run", "exp.yaml", "--run-id", "exp", "--on-failure", "abort")[0] == 1
    (project.folder / "fail-after").unlink()
    first = (
        "from tenyson.pipeline.control import reopen as module\n"
        "take, other = module.take_lease, module.reopen\n"
        "def late(*of):\n    module.take_lease = take\n    other(*of)\n    return take(*of)\n"
        "module.take_lease = late"
    )
    status, said = project.run("attach", "exp", "--again", first=first)
    assert status == 0, said
    assert project.starts == ["exp-sft", "exp-after", "exp-after"]


@pytest.mark.slow
def test_one_name_in_two_databases_is_worked_on_by_one_at_a_time(project):
    """They have one folder: the second command says who works there for which database, before it starts a job."""
    first = project.start("run", "exp.yaml", "--run-id", "exp", TENYSON_DB_URL="sqlite:///./one.db")
    wait_for_start(project, "exp-sft")
    status, said = project.run("run", "exp.yaml", "--run-id", "exp", TENYSON_DB_URL="sqlite:///./two.db")
    assert status == 2, said
    assert f"process {first.pid} works on a pipeline exp of another database here" in said
    assert "one.db" in said
    release(project.folder, "sft")
    assert first.wait(60) == 0
    assert project.starts == ["exp-sft", "exp-after"]


@pytest.mark.slow
def test_a_job_that_runs_for_another_database_is_not_shared(project):
    """The same settings and the same run: who recorded it elsewhere would have a result without a record."""
    (project.folder / "job.yaml").write_text(
        "model: {factory: 'tenyson.testing.tiny:build'}\ntask: {module: ./task.py}\ntraining: {learning_rate: 0.1, max_steps: 5}\n"
        "evaluation: {samples: 4}\n"
    )
    first = project.start("run", "exp.yaml", "--run-id", "exp", TENYSON_DB_URL="sqlite:///./one.db")
    wait_for_start(project, "exp-sft")
    words = ("run", "--job", "sft", "--config", "job.yaml", "--run-id", "exp-sft", "--on-failure", "abort")
    status, said = project.run(*words, TENYSON_DB_URL="sqlite:///./two.db")
    assert (status, "a job called exp-sft still runs here, and is recorded in another database" in said) == (
        1,
        True,
    ), said
    status, said = project.run(*words, TENYSON_DB_URL="sqlite:///./one.db")
    assert status == 2, said
    assert "exp-sft is taken: it is the run of step sft of the pipeline exp, which is at work on it" in said
    release(project.folder, "sft")
    assert first.wait(60) == 0


def test_a_script_that_is_started_at_the_same_moment_finds_the_pipeline_of_the_first(tmp_path, monkeypatch):
    """Between looking for an unfinished one and writing its own, the other script has written it."""
    monkeypatch.chdir(tmp_path)
    url = f"sqlite:///{tmp_path}/journal.db"
    config = {"run": {"id": "one", "output_dir": "outputs"}, "task": {"args": {}}}
    create, made = Journal.create, []

    def late(journal, name, *rest, **more):
        if not made:
            made.append(create(journal, f"{name}-first", *rest, **more))
        return create(journal, name, *rest, **more)

    monkeypatch.setattr(Journal, "create", late)
    result = run_pipeline(
        [Step("sft", config, StandInJob, None)], LocalManager("outputs", runner=RUNNER), "abort", db_url=url
    )
    assert (result.status, result.pipeline_id) == ("success", made[0])
    with Journal(url, read_only=True) as journal:
        assert [one.id for one in journal.pipelines()] == made
