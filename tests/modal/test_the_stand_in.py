"""The stand-in for Modal does what tests take for granted: containers, volumes, faults; through the real client."""

import sys
import time
import types

import modal as client
import pytest
from modal import exception
from tests.fakes.waiting import wait_for

pytestmark = pytest.mark.timeout(120)

PROBE = """
import os, time
from pathlib import Path

def echo(text):
    return {"text": text, "secret": os.environ.get("PROBE"), "pid": os.getppid(), "checkout": Path(REPOSITORY).exists()}

def write(name, commit):
    import modal
    Path("/data", name).write_text("kept")
    if commit:
        modal.Volume.from_name(VOLUME).commit()
    Path("/data", f"{name}-late").write_text("lost")
    time.sleep(60)

def wait(seconds):
    import modal
    import modal.exception
    entries = modal.Dict.from_name(VOLUME + "-seen")
    if entries.get("raised"):
        return
    try:
        entries.put("begun", time.time())
        time.sleep(seconds)
    except BaseException as error:
        entries.put("raised", type(error).__name__)
        raise

def fail():
    raise ValueError("as told")
"""


class Probe:
    """Functions of a module that is in the image alone."""

    def __init__(self, modal, folder):
        from tests.fakes.ec2.client import REPOSITORY

        self.volume = modal.settings["volume"]
        text = f"VOLUME = {self.volume!r}\nREPOSITORY = {str(REPOSITORY)!r}\n" + PROBE
        (folder / "probe.py").write_text(text)
        module = types.ModuleType("probe")
        exec(text, module.__dict__)
        for value in module.__dict__.values():
            if isinstance(value, types.FunctionType):
                value.__module__ = "probe"
        sys.modules["probe"] = module
        self._module = module
        self.image = (
            client.Image.debian_slim(python_version="3.11")
            .uv_pip_install("modal==1.6.4")
            .add_local_file(folder / "probe.py", "/root/probe.py", copy=True)
        )
        client.Volume.from_name(self.volume, create_if_missing=True, version=2).hydrate()
        self.seen = client.Dict.from_name(f"{self.volume}-seen", create_if_missing=True)
        self.seen.hydrate()

    def call(self, name, *args, detach=True, **more):
        app = client.App(f"probe-{name}", include_source=False)
        function = app.function(
            image=self.image, single_use_containers=True, volumes={"/data": client.Volume.from_name(self.volume)}, **more
        )(getattr(self._module, name))  # fmt: skip
        with app.run(detach=detach):
            call = function.spawn(*args)
            if not detach:
                call.get()
        return call, app.app_id

    def committed(self, modal):
        return {path.name for path in modal.cloud.volume(self.volume).iterdir()}


@pytest.fixture
def probe(modal, tmp_path):
    yield Probe(modal, tmp_path)
    sys.modules.pop("probe", None)
    for app in modal.live():
        modal.cloud.stop(app)


def state_of(modal, app_id):
    return next(app["state"] for app in modal.cloud.apps() if app["id"] == app_id)


@pytest.mark.slow
def test_a_function_runs_in_a_container_of_its_own_with_its_secret_and_without_the_checkout(modal, probe):
    """Modal's own runtime, in namespaces over an image that was really built."""
    secret = client.Secret.from_dict({"PROBE": "x"})
    call, app_id = probe.call("echo", "hello", secrets=[secret])
    assert call.get(timeout=60) == {"text": "hello", "secret": "x", "pid": 1, "checkout": False}
    wait_for(lambda: state_of(modal, app_id) == "stopped", seconds=10)


@pytest.mark.slow
def test_a_layer_is_made_once_for_its_content(modal, probe):
    """The second app finds the image."""
    probe.call("echo", "one")[0].get(timeout=60)
    before = len(modal.cloud.built())
    probe.call("echo", "two")[0].get(timeout=60)
    assert len(modal.cloud.built()) == before


def test_an_image_that_cannot_be_made_is_told_with_the_builds_words(probe):
    """As the real service does."""
    probe.image = probe.image.run_commands("echo so far so good; exit 3")
    with pytest.raises(exception.ImageBuildError, match="so far so good"):
        probe.call("echo", "never")


@pytest.mark.slow
def test_what_was_not_committed_is_lost_with_the_container(modal, probe):
    """And what was committed is there for others."""
    call, _ = probe.call("write", "one", True)
    wait_for(lambda: "one" in probe.committed(modal))
    time.sleep(0.5)
    modal.cloud.kill(call.object_id, "oom")
    wait_for(lambda: modal.cloud.call(call.object_id)["status"] != "running")
    assert probe.committed(modal) == {"one"}


@pytest.mark.slow
def test_a_preempted_input_is_delivered_again_after_a_keyboard_interrupt(modal, probe):
    """Not counted as a retry."""
    call, _ = probe.call("wait", 60)
    wait_for(lambda: probe.seen.get("begun"))
    modal.cloud.preempt(call.object_id, grace=20)
    call.get(timeout=60)
    assert probe.seen.get("raised") == "KeyboardInterrupt"
    seen = modal.cloud.call(call.object_id)
    assert (seen["deliveries"], seen["retry_count"]) == (2, 0)


@pytest.mark.slow
def test_failures_and_time_limits_use_up_the_retries(modal, probe):
    """The last one is the result."""
    retries = client.Retries(max_retries=1, initial_delay=0.0, backoff_coefficient=1.0)
    failed, _ = probe.call("fail", retries=retries)
    with pytest.raises(ValueError, match="as told"):
        failed.get(timeout=60)
    late, _ = probe.call("wait", 60, timeout=1, retries=retries)
    with pytest.raises(exception.FunctionTimeoutError):
        late.get(timeout=60)
    assert [modal.cloud.call(one.object_id)["deliveries"] for one in (failed, late)] == [2, 2]


@pytest.mark.slow
def test_a_cancelled_call_raises_in_its_body(modal, probe):
    """Without its container being ended for it."""
    call, _ = probe.call("wait", 60)
    wait_for(lambda: probe.seen.get("begun"))
    call.cancel()
    wait_for(lambda: probe.seen.get("raised"))
    assert probe.seen.get("raised") == "InputCancellation"
    assert wait_for(lambda: modal.cloud.call(call.object_id)["status"] != "running")


@pytest.mark.slow
def test_an_app_that_is_not_detached_ends_with_its_client(modal, probe):
    """At once."""
    _, app_id = probe.call("echo", "here", detach=False)
    assert state_of(modal, app_id) == "stopped"


@pytest.mark.slow
def test_an_expired_result_is_told_as_such(modal, probe):
    """Not as one that is still to come."""
    call, _ = probe.call("echo", "old")
    call.get(timeout=60)
    modal.cloud.expire(call.object_id)
    with pytest.raises(exception.OutputExpiredError):
        call.get(timeout=0)


def test_a_dict_takes_a_key_once_where_that_is_asked_for(probe):
    """One of two wins."""
    assert probe.seen.put("once", 1, skip_if_exists=True) is True
    assert probe.seen.put("once", 2, skip_if_exists=True) is False
    assert probe.seen.get("once") == 1
    assert probe.seen.pop("once") == 1


def test_a_file_of_a_volume_is_read_whole_and_in_ranges(modal, probe, tmp_path):
    """Blocks of 8 MiB; a file that ends in zeros is whole."""
    from tenyson_modal.exchange.store import Store

    data = bytes(range(256)) * 40_000 + b"\0" * 100
    (tmp_path / "big").write_bytes(data)
    volume = client.Volume.from_name(probe.volume)
    with volume.batch_upload() as batch:
        batch.put_file(str(tmp_path / "big"), "/folder/big")
    assert b"".join(volume.read_file("folder/big")) == data
    store = Store(probe.volume, None, "folder", "key")
    for begin, size in ((0, 10), (8_388_600, 20), (10_240_000, 100), (5, None)):
        end = None if size is None else begin + size
        assert b"".join(store._read("folder/big", begin, size)) == data[begin:end]
    assert [entry.path for entry in volume.listdir("/", recursive=True)] == ["folder", "folder/big"]


@pytest.mark.slow
def test_a_reply_that_is_lost_makes_no_second_call(modal, probe):
    """The client says again which one it meant."""
    before = len(modal.cloud.calls())
    modal.cloud.fail("FunctionMap", times=1, after=True)
    probe.call("echo", "once")[0].get(timeout=60)
    assert len(modal.cloud.calls()) == before + 1


@pytest.mark.slow
def test_modals_own_commands_understand_it(modal, probe, tmp_path):
    """`modal app list`, `app stop`, `volume put`, `volume ls`."""
    import subprocess

    call, app_id = probe.call("wait", 60)
    wait_for(lambda: probe.seen.get("begun"))

    def run(*words):
        command = [sys.executable, "-m", "modal", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert app_id in run("app", "list", "--json")
    run("app", "stop", app_id, "--yes")
    assert state_of(modal, app_id) == "stopped"
    assert modal.cloud.call(call.object_id)["status"] == "terminated"
    run("volume", "put", probe.volume, str(tmp_path / "probe.py"))
    assert "probe.py" in run("volume", "ls", probe.volume)
