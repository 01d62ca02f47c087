"""Whose files are these: a run's folder is used only while it holds what the attempt left there; its name proves nothing."""

import json
import shutil
import sqlite3

import pytest
from tests.fakes.project import Project, release

from tenyson.config.load import parse_config
from tenyson.telemetry.events import RunFinished, RunStarted
from tenyson.telemetry.sinks.sql import SqlSink


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.mark.slow
def test_a_result_whose_folder_another_databases_run_took_is_not_reused(project):
    """Of two runs of one name, the later one has the folder: the step is run again, and its own model is evaluated."""
    trained = project.write("{label: sft, job: sft}")
    assert project.run("run", trained, "--run-id", "exp", TENYSON_DB_URL="sqlite:///./one.db")[0] == 0
    other = project.write("{label: sft, job: sft}", name="other.yaml", rate=0.9)
    assert project.run("run", other, "--run-id", "exp", TENYSON_DB_URL="sqlite:///./two.db")[0] == 0
    status, said = project.run(
        "run", project.write(), "--run-id", "again", TENYSON_DB_URL="sqlite:///./one.db"
    )
    assert status == 0, said
    assert "nothing changed" not in said
    assert project.starts == ["exp-sft", "exp-sft", "again-sft", "again-after"]
    assert project.measured("again-after") == 0.1
    # What is still there is reused as ever.
    shown = project.run("show", "exp-sft", "--db-url", "sqlite:///./one.db")[1]
    assert "this is not the run that step sft of exp left in outputs/exp-sft" in shown
    assert "nothing changed since again-after" in project.run("run", "exp.yaml", "--run-id", "third", TENYSON_DB_URL="sqlite:///./one.db")[1]  # fmt: skip


@pytest.mark.slow
def test_a_single_job_of_the_name_of_a_step_is_not_taken_for_that_step(project):
    """It may have the name: then the step is no longer there, and is run again."""
    project.run("run", project.write(), "--run-id", "exp")
    (project.folder / "job.yaml").write_text(
        "model: {factory: 'tenyson.testing.tiny:build'}\ntask: {module: ./task.py}\ntraining: {learning_rate: 0.7, max_steps: 5}\n"
    )
    status, said = project.run("run", "--job", "sft", "--config", "job.yaml", "--run-id", "exp-sft")
    assert status == 0, said
    assert (
        project.run("run", "exp.yaml", "--run-id", "again", "--from", "after")[0] == 1
    )  # nothing stored for sft
    assert project.run("run", "exp.yaml", "--run-id", "third", "--no-reuse")[0] == 0
    assert project.measured("third-after") == 0.1


@pytest.mark.slow
def test_a_step_that_is_done_hands_on_its_own_model_or_none(project):
    """Its folder was taken while the pipeline waited: the next step fails and says so, and --again trains it again."""
    project.write()
    (project.folder / "fail-after").touch()
    assert project.run("run", "exp.yaml", "--run-id", "exp", "--on-failure", "abort")[0] == 1
    other = project.write("{label: sft, job: sft}", name="other.yaml", rate=0.9)
    assert project.run("run", other, "--run-id", "exp", TENYSON_DB_URL="sqlite:///./two.db")[0] == 0
    (project.folder / "fail-after").unlink()
    with sqlite3.connect(project.folder / "tenyson_telemetry.db") as database:
        database.execute("UPDATE pipeline_steps SET state = 'PENDING' WHERE label = 'after'")
        database.execute("UPDATE pipelines SET status = 'stopped'")
    status, said = project.run("attach", "exp", "--on-failure", "abort")
    assert status == 1
    assert "another run was started in the folder since" in said
    assert "`tenyson attach exp --again`" in said
    assert project.run("attach", "exp", "--again")[0] == 0
    assert project.measured("exp-after") == 0.1


@pytest.mark.slow
def test_a_job_that_ended_unseen_and_lost_its_folder_is_not_the_run_that_has_it_now(project):
    """The controller was killed, the job ended, another run came: attach says that, and where the old files are."""
    project.write("{label: sft, job: sft}")
    (project.folder / "hold-sft").touch()
    project.killed("run", "exp.yaml", "--run-id", "exp", at="exp-sft")
    release(project.folder, "sft")
    other = project.write("{label: sft, job: sft}", name="other.yaml", rate=0.9)
    assert project.run("run", other, "--run-id", "exp", TENYSON_DB_URL="sqlite:///./two.db")[0] == 0
    status, said = project.run("attach", "exp", "--on-failure", "abort")
    assert status == 1, said
    assert "another job called exp-sft was started in the folder" in said
    assert "outputs/exp-sft/earlier/1" in said
    assert project.states("exp") == {"sft": "FAILED"}


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["weights", "result"])
def test_a_model_that_was_changed_in_its_place_is_not_the_steps_result(project, damage):
    """Neither other weights nor another result under the same names."""
    project.run("run", project.write(), "--run-id", "exp")
    folder = project.folder / "outputs" / "exp-sft"
    if damage == "weights":
        (folder / "model" / "weights").write_text("0.5")
    else:
        result = json.loads((folder / "job_result.json").read_text())
        (folder / "job_result.json").write_text(json.dumps({**result, "metrics": {"loss": 0.0}}))
    assert project.run("run", "exp.yaml", "--run-id", "again")[0] == 0
    assert "again-sft" in project.starts


@pytest.mark.slow
def test_names_that_could_mean_two_things_are_refused(project):
    """PIPELINE-LABEL is the whole name of no other pipeline, and the run of no other; a status 2, and nothing starts."""
    project.write("{label: sft-big, job: sft}", name="long.yaml")
    project.write("{label: big, job: sft}", name="short.yaml", rate=0.9)
    assert project.run("run", "long.yaml", "--run-id", "exp")[0] == 0
    for file, name in (("short.yaml", "exp-sft"), ("exp.yaml", "exp-sft-big")):
        project.write()
        status, said = project.run("run", file, "--run-id", name)
        assert status == 2, said
        assert "exp-sft-big is taken: it is the run of step sft-big of the pipeline exp" in said
        assert "Choose another --run-id" in said
    assert project.starts == ["exp-sft-big"]


@pytest.mark.slow
def test_a_journal_of_an_earlier_version_is_checked_by_its_results(project):
    """It kept no sums: the same result file is the same run, another one is not."""
    project.run("run", project.write("{label: sft, job: sft}"), "--run-id", "exp")
    with sqlite3.connect(project.folder / "tenyson_telemetry.db") as database:
        database.execute("UPDATE pipeline_attempts SET result = json_remove(result, '$.contents')")
    assert "nothing changed since exp-sft" in project.run("run", "exp.yaml", "--run-id", "again")[1]
    file = project.folder / "outputs" / "exp-sft" / "job_result.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "total_time_seconds": 1.5}))
    assert "nothing changed" not in project.run("run", "exp.yaml", "--run-id", "third")[1]


def test_a_report_says_why_it_has_no_numbers_of_a_step(project):
    """Its folder was removed to make room, or is another run's: that is the reason, and not a sink that was off."""
    project.run("run", project.write("{label: sft, job: sft}"), "--run-id", "exp")
    folder = project.folder / "outputs" / "exp-sft"
    file = folder / "job_result.json"
    for happen, why in (
        (lambda: file.write_text(file.read_text() + " "), "its job_result.json is not what the run wrote"),
        (lambda: shutil.rmtree(folder), "the folder is gone"),
    ):
        happen()
        status, said = project.run("report", "exp")
        assert status == 2, said
        assert f"missing: the files of sft in outputs/exp-sft: {why}" in said
        assert "jsonl" not in said


def test_show_reads_no_numbers_of_another_run_that_has_the_folder_now(project):
    """What the database recorded is shown, and the folder's files are not: they are another run's."""
    folder = project.folder / "outputs" / "sft-1"
    url = f"sqlite:///{project.folder}/tenyson_telemetry.db"
    sink = SqlSink(
        parse_config({"model": {"name": "m"}, "telemetry": {"db_url": url}, "run": {"id": "sft-1"}}), folder
    )
    sink.write(
        RunStarted(
            run_id="sft-1", time=1.0, job_type="sft", task="echo", output_dir="outputs/sft-1", config={}
        )
    )
    result = {"run_id": "sft-1", "status": "success", "total_time_seconds": 5.0, "metrics": {"loss": 0.25}}
    sink.write(RunFinished(run_id="sft-1", time=6.0, status="success", result=result))
    sink.close()
    (folder / "model").mkdir(parents=True)
    told = {"loss": {"value": 0.75, "n": 1, "low": None, "high": None}}
    for taken, seconds in ((False, 5.0), (True, 6.5)):
        left = {**result, "total_time_seconds": seconds, "metrics": {"loss": 0.75}}
        (folder / "job_result.json").write_text(json.dumps(left))
        (folder / "results.json").write_text(json.dumps({"metrics": told}))
        status, said = project.run("show", "sft-1")
        assert status == 0, said
        assert ("outputs/sft-1 holds another run of this name now" in said) == taken
        assert ("0.75" in said, "0.25" in said) == (not taken, taken)
        assert ("outputs/sft-1/model" in said) != taken
