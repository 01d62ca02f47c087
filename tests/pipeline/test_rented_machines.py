"""A pipeline on rented machines: those that are taken back are replaced by itself, and Ctrl-C leaves jobs running."""

import signal
import threading
import time

import pytest
from tests.fakes.file_backend import FileBackend

from tenyson.cloud import manager
from tenyson.cloud.watch.follow import PlainFollower
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.control.launcher import BackendLauncher
from tenyson.pipeline.control.session import Session
from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.journal.journal import Journal
from tenyson.pipeline.pipeline import Pipeline


class RentedFiles(FileBackend):
    """Machines that cost until they are given back."""

    rented = True

    def __init__(self, root):
        super().__init__(root)
        self.released = []

    def release(self, handle):
        self.released.append(handle.data["token"])

    def cancel(self, handle, grace_seconds):
        raise AssertionError("a rented job is left to itself")


def run(folder, backend, **args):
    journal = Journal(f"sqlite:///{folder}/journal.db")
    if journal.pipeline("p") is None:
        config = {
            "run": {"id": "p-a", "output_dir": str(folder / "outputs")},
            "task": {"args": args},
            "training": {},
        }
        definition = Definition("a", JobSpec("p-a", "sft", "none:None", config))
        journal.create("p", "p", "p", {}, {"a": definition.to_json()})
    launcher = BackendLauncher(backend, PlainFollower())
    return Pipeline.open(journal, "p").drive(launcher, Session(ask=lambda question: None))


def test_a_machine_that_is_taken_back_is_replaced_without_a_question_and_that_is_said(tmp_path, capfd):
    """From the latest checkpoint; each machine is given back."""
    backend = RentedFiles(tmp_path)
    result = run(tmp_path, backend, do="preempted preempted succeed")
    assert result.status == "success"
    starts = backend.starts()
    assert [one["resumed"] for one in starts] == [None, "latest", "latest"]
    assert backend.released == [one["token"] for one in starts]
    assert "at most 20 times per step (--preemptions)" in capfd.readouterr().err


@pytest.mark.slow
def test_ctrl_c_leaves_the_jobs_of_a_pipeline_running_and_attach_finds_them(tmp_path, monkeypatch, capfd):
    """The pipeline is stopped, its step still runs, and the next controller adopts it: one start."""
    monkeypatch.setattr("tenyson.pipeline.control.interruption.DETACH_SECONDS", 0.5)
    assert manager.DETACH_SECONDS == 5.0
    backend = RentedFiles(tmp_path)

    def press():
        while not backend.starts():
            time.sleep(0.05)
        time.sleep(0.5)
        signal.raise_signal(signal.SIGINT)

    thread = threading.Thread(target=press)
    thread.start()
    first = run(tmp_path, backend, do="succeed", seconds=10)
    thread.join()
    assert first.status == "stopped"
    assert "tenyson attach p (Ctrl-C again ends the jobs now" in capfd.readouterr().err
    second = run(tmp_path, backend)
    assert second.status == "success"
    assert len(backend.starts()) == 1
