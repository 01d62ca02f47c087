"""A project that was moved continues where it is now; one that was copied asks, and whatever it does leaves the original alone."""

import json
import shutil
import sqlite3

import pytest
from tests.fakes.project import Project, release, wait_for_start


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path / "a")
    project.write()
    return project


def interrupted(project):
    """A pipeline whose controller was killed while its first step waited."""
    (project.folder / "hold-sft").touch()
    project.killed("run", "exp.yaml", "--run-id", "exp", at="exp-sft")
    return project


def moved(project):
    """Its folder under another name; nothing is left at the old one."""
    new = project.folder.with_name("b")
    project.folder.rename(new)
    project.folder = new
    return project


def as_an_earlier_version_wrote(folder, begun):
    """Absolute folders in handles, a host's name alone, no sums, nothing about where the journal or a process was."""
    with sqlite3.connect(folder / "tenyson_telemetry.db") as database:
        database.execute("UPDATE pipelines SET plan = json_remove(plan, '$.machine', '$.journal')")
        rows = database.execute("SELECT label, handle, result FROM pipeline_attempts").fetchall()
        for label, handle, result in rows:
            data = json.loads(handle)
            data["data"] |= {"folder": f"{begun}/outputs/exp-{label}"}
            data["data"].pop("machine", None)
            kept = result and json.dumps({k: v for k, v in json.loads(result).items() if k != "contents"})
            database.execute(
                "UPDATE pipeline_attempts SET handle = ?, result = ? WHERE label = ?",
                (json.dumps(data), kept, label),
            )
    for file in folder.glob("outputs/*/process.json"):
        process = json.loads(file.read_text())
        file.write_text(json.dumps({k: v for k, v in process.items() if k not in ("machine", "folder")}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("version", "command"), [("of today", ("run", "exp.yaml")), ("earlier", ("attach", "exp"))]
)
def test_a_moved_project_goes_on_with_what_ended_meanwhile(project, version, command):
    """Neither is its code taken for edited, nor the step that succeeded for failed; and the move is said."""
    release(interrupted(project).folder, "sft")
    begun = project.folder
    if version == "earlier":
        as_an_earlier_version_wrote(project.folder, begun)
    status, said = moved(project).run(*command)
    assert status == 0, said
    assert f"the project was moved from {begun}: continuing in {project.folder}" in said
    assert "edited" not in said
    assert project.starts == ["exp-sft", "exp-after"]
    assert project.measured("exp-after") == 0.1
    assert not begun.exists()
    # It is at home here now: nothing more is said, and what is done is used again.
    status, said = project.run("run", "exp.yaml", "--run-id", "again")
    assert (status, "moved" in said) == (0, False), said
    assert project.starts == ["exp-sft", "exp-after"]


@pytest.mark.slow
def test_a_project_that_is_moved_under_a_running_job_finds_it_again(project):
    """Its paths are relative, and its process keeps the folder: the job is adopted in the new place."""
    moved(interrupted(project))
    second = project.start("attach", "exp")
    release(project.folder, "sft")
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 0, said
    assert "exp-sft: found again" in said
    assert project.starts == ["exp-sft", "exp-after"]


@pytest.mark.slow
def test_a_copy_asks_and_the_original_is_left_alone(project, tmp_path):
    """Without an answer nothing starts; with --here the copy is a pipeline of its own, and the original's job runs to its end."""
    interrupted(project)
    original = project.folder
    shutil.copytree(original, tmp_path / "copy")
    copy = Project(tmp_path / "copy")
    before = tree(original)
    for words in (("attach", "exp"), ("run", "exp.yaml", "--run-id", "exp")):
        status, said = copy.run(*words)
        assert status == 2, said
        assert f"exp was begun in {original}, of which {copy.folder} is a copy" in said
        assert "tenyson attach exp --here" in said
    (copy.folder / "hold-sft").unlink()
    status, said = copy.run("attach", "exp", "--here", TENYSON_LEASE_SECONDS="1")
    assert status == 0, said
    assert copy.starts == ["exp-sft", "exp-sft", "exp-after"]
    assert copy.measured("exp-after") == 0.1
    assert copy.run("report", "exp")[0] in (0, 2)  # the jobs of this test leave no records to report
    assert tree(original) == before
    assert project.states("exp")["sft"] in ("LAUNCHED", "RUNNING")
    # The copy is at home, and the original continues as if there were none.
    assert copy.run("attach", "exp")[0] == 0
    release(original, "sft")
    assert project.run("attach", "exp")[0] == 0
    assert project.starts == ["exp-sft", "exp-after"]


@pytest.mark.slow
def test_a_single_job_in_a_copy_takes_no_job_of_the_original_for_its_own(project, tmp_path):
    """The process that the copied folder names works in the original."""
    (project.folder / "job.yaml").write_text(
        "model: {factory: 'tenyson.testing.tiny:build'}\ntask: {module: ./task.py}\ntraining: {learning_rate: 0.7}\n"
    )
    words = ("run", "--job", "sft", "--config", "job.yaml", "--run-id", "x-one")
    (project.folder / "hold-one").touch()
    first = project.start(*words)
    wait_for_start(project, "x-one")
    shutil.copytree(project.folder, tmp_path / "copy")
    copy = Project(tmp_path / "copy")
    (copy.folder / "hold-one").unlink()
    status, said = copy.run(*words, TENYSON_DB_URL="sqlite:///./other.db")
    assert status == 0, said
    assert copy.starts == ["x-one", "x-one"]
    release(project.folder, "one")
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 0, said
    assert project.starts == ["x-one"]


@pytest.mark.slow
def test_a_shared_journal_finds_the_project_that_was_moved_and_says_where_it_is_not(project, tmp_path):
    """Its file is elsewhere: the runs' folders tell which folder is the project, from any other one says where it was."""
    shared = {"TENYSON_DB_URL": f"sqlite:///{tmp_path}/shared.db"}
    (project.folder / "fail-after").touch()
    assert project.run("run", "exp.yaml", "--run-id", "exp", "--on-failure", "abort", **shared)[0] == 1
    begun = project.folder
    moved(project)
    (project.folder / "fail-after").unlink()
    stranger = Project(tmp_path / "stranger")
    status, said = stranger.run("attach", "exp", "--again", **shared)
    assert (status, "is gone, and its runs are not here" in said) == (2, True), said
    assert str(begun) in said
    status, said = project.run("attach", "exp", "--again", **shared)
    assert status == 0, said
    assert project.starts == ["exp-sft", "exp-after", "exp-after"]
    # From elsewhere, a project that is where it was begun is gone to.
    status, said = stranger.run("attach", "exp", **shared)
    assert (status, f"working in {project.folder}" in said) == (0, True), said


@pytest.mark.slow
def test_what_the_journal_keeps_of_a_job_is_relative_to_the_project(project):
    """Handles and results name no folder above it, so that a moved database is read without being rewritten."""
    project.run("run", "exp.yaml", "--run-id", "exp")
    with sqlite3.connect(project.folder / "tenyson_telemetry.db") as database:
        rows = database.execute("SELECT handle, result FROM pipeline_attempts").fetchall()
    for handle, result in rows:
        assert json.loads(handle)["data"]["folder"].startswith("outputs/exp-")
        assert str(project.folder) not in result


def tree(folder):
    """Every file with its time of change; of the database's own, which a look at them touches, the database."""
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
