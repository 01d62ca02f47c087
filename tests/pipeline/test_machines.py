"""A machine is known by its boot id and its machine id: a new name changes nothing, and the same name proves nothing."""

import pytest
from tests.fakes.project import Project, release, wait_for_start

from tenyson.cloud.local.host import relation, this_host

RENAMED = "import socket; socket.gethostname = lambda: 'elsewhere'"
SAME = this_host()
SHORT = {"TENYSON_LEASE_SECONDS": "5"}
"""Of a controller that is killed: another machine waits for its lease."""


def pretend(**different):
    """Code that lets a command believe that it runs elsewhere."""
    return f"import tenyson.cloud.local.host as h; real = h.this_host; h.this_host = lambda: real() | {different!r}"


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path)
    project.write()
    (tmp_path / "hold-sft").touch()
    return project


@pytest.mark.slow
def test_a_machine_that_got_another_name_goes_on_with_its_jobs(project):
    """A laptop on another network: the job that runs is found again, and is started once."""
    project.killed("run", "exp.yaml", "--run-id", "exp", at="exp-sft")
    second = project.start("attach", "exp", first=RENAMED)
    release(project.folder, "sft")
    said, _ = second.communicate(timeout=60)
    assert second.returncode == 0, said
    assert "exp-sft: found again" in said
    assert project.starts == ["exp-sft", "exp-after"]


@pytest.mark.parametrize("different", [{"boot": "b2"}, {"boot": "b2", "machine": "m2"}, {"space": "pid:[1]"}])
@pytest.mark.slow
def test_another_machine_of_the_same_name_does_not_take_a_live_pipeline(project, different):
    """Nor what looks like this one after a boot, nor another container: the lease is renewed, so its holder lives."""
    first = project.start("run", "exp.yaml", "--run-id", "exp", TENYSON_LEASE_SECONDS="3")
    wait_for_start(project, "exp-sft")
    for more in ((), ("--gone",)):
        status, said = project.run("attach", "exp", *more, first=pretend(**different))
        assert status == 2, said
        assert "is driven by process" in said or "tenyson attach exp --gone" in said
        assert "lost:" not in said
    release(project.folder, "sft")
    said, _ = first.communicate(timeout=60)
    assert first.returncode == 0, said
    assert project.starts == ["exp-sft", "exp-after"]


@pytest.mark.slow
def test_a_job_of_another_machine_is_not_lost_until_somebody_says_that_it_is_gone(project):
    """Its controller is dead and nobody can look at the job from here: attach names the machine, and --gone gives it up."""
    project.killed("run", "exp.yaml", "--run-id", "exp", at="exp-sft", **SHORT)
    other = pretend(boot="b2", machine="m2", host="other")
    status, said = project.run("attach", "exp", first=other)
    assert status == 2, said
    assert f"run exp-sft was started on {SAME['host']}" in said
    assert "tenyson attach exp --gone" in said
    # Another pipeline's job of that name does not take its folder either.
    single = ("run", "exp.yaml", "--only", "sft", "--run-id", "exp", "--on-failure", "abort", "--no-reuse")
    status, said = project.run(*single, first=other, TENYSON_DB_URL="sqlite:///./two.db")
    assert (status, "its end was not seen" in said) == (1, True), said
    assert project.states("exp")["sft"] in ("LAUNCHED", "RUNNING")
    (project.folder / "hold-sft").unlink()
    project.wait_until_ended("exp-sft")
    (project.folder / "outputs" / "exp-sft" / "exit_status.json").unlink()
    status, said = project.run("attach", "exp", "--gone", "--on-failure", "abort", first=other)
    assert status == 1, said
    assert "its machine is gone, as --gone said" in said
    status, said = project.run("attach", "exp", "--again", first=other)
    assert status == 0, said
    assert project.starts == ["exp-sft", "exp-sft", "exp-after"]


@pytest.mark.slow
def test_a_job_whose_end_is_written_needs_no_machine(project):
    """Its supervisor told the exit status in the folder: any machine that sees that continues."""
    project.killed("run", "exp.yaml", "--run-id", "exp", at="exp-sft", **SHORT)
    release(project.folder, "sft")
    status, said = project.run("attach", "exp", first=pretend(boot="b2", machine="m2", host="other"))
    assert status == 0, said
    assert project.starts == ["exp-sft", "exp-after"]


@pytest.mark.slow
def test_a_job_that_ends_while_its_machine_is_given_up_is_no_lost_one(project):
    """--gone waits for the lease, and a job that has written its end by then has a result, which counts."""
    project.killed("run", "exp.yaml", "--run-id", "exp", at="exp-sft", **SHORT)
    ends = (
        "import pathlib, time\nfrom tenyson.pipeline import pipeline as module\nlook = module.elsewhere\n"
        "def late(*of):\n    found = look(*of)\n    pathlib.Path('hold-sft').unlink()\n"
        "    while not pathlib.Path('outputs/exp-sft/exit_status.json').exists(): time.sleep(0.05)\n    return found\n"
        "module.elsewhere = late"
    )
    other = pretend(boot="b2", machine="m2", host="other")
    status, said = project.run("attach", "exp", "--gone", "--on-failure", "abort", first=f"{other}\n{ends}")
    assert status == 0, said
    assert project.starts == ["exp-sft", "exp-after"]


@pytest.mark.parametrize(
    ("then", "how"),
    [
        ({}, "here"),
        ({"host": "renamed"}, "here"),
        ({"boot": "earlier"}, "rebooted"),
        ({"boot": "earlier", "host": "renamed"}, "rebooted"),
        ({"boot": "b2", "machine": "m2"}, "elsewhere"),
        ({"boot": "b2", "machine": None}, "elsewhere"),
        ({"space": "pid:[1]"}, "elsewhere"),
        ({"boot": None}, "here"),
        ({"boot": None, "machine": "m2"}, "elsewhere"),
    ],
)
def test_a_host_of_then_is_known_by_its_ids(then, how):
    """Boot and pid namespace say whether processes can be seen, the machine id whether they ended with a boot."""
    now = {"host": "h", "machine": "m1", "boot": "b1", "space": "pid:[9]"}
    assert relation(now | then, now) == how


@pytest.mark.parametrize(
    ("then", "how"),
    [
        ({"host": "h", "mark": "b1/77", "space": "pid:[9]"}, "here"),
        ({"host": "renamed", "mark": "b1/77"}, "here"),
        ({"host": "h", "mark": "earlier/77"}, "rebooted"),
        ({"host": "another", "mark": "earlier/77"}, "elsewhere"),
        ({"host": "another"}, "elsewhere"),
    ],
)
def test_what_an_earlier_version_wrote_is_read_by_its_processes_mark(then, how):
    """It kept the host's name alone; a mark begins with the boot id."""
    assert relation(then, {"host": "h", "machine": "m1", "boot": "b1", "space": "pid:[9]"}) == how
