"""`tenyson modal`: what runs, clean-up, doctor, a run of another machine; through the real executable."""

import json
import shutil
import subprocess
import sys

import pytest
from tests.fakes.waiting import wait_for

from tenyson.testing.ticking import lines

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def tenyson(*words, **more):
    return subprocess.run(
        [sys.executable, "-m", "tenyson", *words], capture_output=True, text=True, check=False, **more
    )


def project(modal, folder):
    (folder / "tenyson.yaml").write_text(json.dumps({"backend": {"modal": modal.settings}}))


def begun_and_left(modal, run="job", **args):
    """A job that runs while nobody looks after it, as after a crash; its folder may be deleted."""
    backend = modal.backend()
    handle = backend.submit(modal.job(run, **args).spec(f"left-{modal.folder}-{run}"))
    wait_for(lambda: backend.poll(handle).phase == "running")
    backend.close()
    return handle


def test_list_and_cleanup_find_an_app_by_its_tags_alone(modal, tmp_path):
    """No file of the run is needed; a dry run removes nothing; what it had saved stays in the volume."""
    project(modal, tmp_path)
    handle = begun_and_left(modal, "orphan", steps=4000)
    shutil.rmtree(modal.folder / "orphan")
    listed = tenyson("modal", "list")
    assert listed.returncode == 0, listed.stderr
    assert handle.data["app_id"] in listed.stdout
    assert "orphan" in listed.stdout
    assert [one["run"] for one in json.loads(tenyson("modal", "list", "--json").stdout)] == ["orphan"]
    dry = tenyson("modal", "cleanup", "--dry-run")
    assert "1 would be removed; nothing was" in dry.stdout
    assert modal.live() == [handle.data["app_id"]]
    refused = tenyson("modal", "cleanup", input="n\n")
    assert refused.returncode == 1
    done = tenyson("modal", "cleanup", "--yes", "--run", "orphan")
    assert f"app {handle.data['app_id']}: removed" in done.stdout, done.stdout + done.stderr
    assert modal.live() == []
    assert "no app of Tenyson runs at Modal" in tenyson("modal", "list").stdout
    assert modal.kept("orphan").is_dir()
    everything = tenyson("modal", "cleanup", "--everything", "--yes", "--run", "orphan")
    assert f"folder {modal.settings['volume']}/orphan: removed" in everything.stdout, everything.stderr
    assert not modal.kept("orphan").exists()


def test_cleanup_leaves_an_app_of_somebody_else_alone_whatever_its_name(modal, tmp_path):
    """Ours have a tag from their first moment on; a name is anybody's."""
    import modal as client

    project(modal, tmp_path)
    app = client.App("tenyson-fork-of-a-colleague", include_source=False)
    with app.run(detach=True):
        assert modal.live() == [app.app_id]
        assert json.loads(tenyson("modal", "list", "--json").stdout) == []
        assert "nothing" in (done := tenyson("modal", "cleanup", "--yes")).stdout, done.stdout + done.stderr
        assert modal.live() == [app.app_id]
    modal.cloud.stop(app.app_id)


def test_a_run_is_attached_to_where_its_folder_is(modal, tmp_path):
    """The laptop slept: everything comes, from the first line on, and the app is stopped."""
    begun_and_left(modal, steps=60)
    told = tenyson("attach", "job", cwd=tmp_path)
    assert told.returncode == 0, told.stderr
    assert "job: success" in told.stdout
    assert modal.log() == lines(60)
    assert modal.live() == []


@pytest.mark.parametrize("ended", [False, True])
def test_a_run_is_attached_to_from_another_machine(modal, tmp_path, ended):
    """By its app's tags while it runs, from the volume afterwards; its folder is not there."""
    handle = begun_and_left(modal, steps=10 if ended else 80)
    if ended:
        wait_for(lambda: modal.live() == [])
        assert modal.cloud.call(handle.data["instance_id"])["status"] == "success"
    shutil.rmtree(modal.folder / "job")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    project(modal, elsewhere)
    told = tenyson("modal", "attach", "job", "--set", f"output_dir={modal.folder}", cwd=elsewhere)
    assert told.returncode == 0, told.stderr
    assert "job: success" in told.stdout
    assert modal.log() == lines(10 if ended else 80)


def test_attaching_to_nothing_says_where_to_look(modal, tmp_path):
    """No stack trace."""
    project(modal, tmp_path)
    told = tenyson("modal", "attach", "never-was")
    assert told.returncode == 1
    assert "nothing at Modal is known of a run 'never-was'" in told.stderr
    assert "tenyson modal list" in told.stderr


def test_the_doctor_tries_what_a_launch_needs_and_starts_nothing(modal, tmp_path, monkeypatch):
    """Each line says what was tried and what came of it; settings come from the project file."""
    project(modal, tmp_path)
    modal.cloud.set_secret("present", {"A": "b"})
    well = tenyson("modal", "doctor", "--set", "secrets=[present]")
    assert well.returncode == 0, well.stdout + well.stderr
    for what in ("token", "environment", "secret present", "volume", "packages", "price"):
        assert f"ok       {what}: " in well.stdout
    ill = tenyson("modal", "doctor", "--set", "secrets=[absent]", "--json")
    assert ill.returncode == 1
    assert [one["what"] for one in json.loads(ill.stdout) if one["level"] == "error"] == ["secret absent"]
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-wrong")
    unknown = tenyson("modal", "doctor")
    assert unknown.returncode == 1
    assert "error    token: " in unknown.stdout
    assert modal.live() == []
