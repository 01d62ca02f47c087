import json
import threading

import pytest
from tests.fakes.modal_stand_in.client import ModalCloud, missing
from tests.fakes.rented_job import Job
from tests.fakes.waiting import wait_for

from tenyson.testing.backends import TICKING
from tenyson_modal.record import CallRecord

HOME = "/var/tmp/tenyson-test-home"
"""Wheels of here are built once for all tests."""


@pytest.fixture(scope="session")
def modal_cloud(tmp_path_factory):
    """One for each worker; images are made once for all of its tests."""
    if (lacks := missing()) is not None:
        pytest.skip(lacks)
    running = ModalCloud(tmp_path_factory.mktemp("modal-cloud"))
    yield running
    running.close()


class Modal:
    """What a test works with: the stand-in, managers over it, and jobs."""

    def __init__(self, cloud, folder, volume):
        self.cloud = cloud
        self.folder = folder
        self.settings = {
            "gpu": None,
            "cpu": 1.0,
            "memory": 512,
            "python": "3.11",
            "volume": volume,
            "poll_seconds": 0.3,
        }
        self._made = []

    def backend(self, runner=TICKING, **settings):
        from tenyson_modal.backend import ModalBackend

        more = {"runner": ["{python}", *runner]} if runner else {}
        made = ModalBackend(output_dir=str(self.folder), **(self.settings | more | settings))
        self._made.append(made)
        return made

    def manager(self, runner=TICKING, max_preemptions=0, **settings):
        from tenyson.cloud.manager import CloudManager

        return CloudManager(self.backend(runner, **settings), max_preemptions=max_preemptions)

    def job(self, run_id="job", *, training=None, **args):
        return Job(self.folder, args, run_id, training or {})

    def record(self, run_id="job"):
        return CallRecord.load(self.folder / run_id)

    def log(self, run_id="job"):
        path = self.folder / run_id / "log.txt"
        return path.read_text().splitlines() if path.exists() else []

    def result(self, run_id="job"):
        return json.loads((self.folder / run_id / "job_result.json").read_text())

    def kept(self, run_id="job"):
        """The run's folder in the volume, as far as it is committed."""
        return self.cloud.volume(self.settings["volume"]) / run_id

    def live(self):
        return self.cloud.live()

    def during(self, job, manager, act, *, at="step 3 "):
        """Run a job in a thread, and do something with its record once its log holds `at`."""
        run, outcome = job.spec().run_id, []
        thread = threading.Thread(target=lambda: outcome.append(manager.run(job)), daemon=True)
        thread.start()
        wait_for(lambda: any(at in line for line in self.log(run)) or outcome)
        assert not outcome, outcome
        act(self.record(run))
        thread.join(180)
        assert outcome, "the run did not end"
        return outcome[0]

    def close(self):
        for backend in self._made:
            backend.close()


@pytest.fixture
def modal(modal_cloud, tmp_path, monkeypatch):
    """After the test no app of it may run that is not tracked, and no attempt may have run twice at once."""
    for name, value in (modal_cloud.environment() | {"TENYSON_HOME": HOME}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    modal_cloud.clear()
    made = Modal(modal_cloud, tmp_path / "outputs", f"v-{abs(hash(str(tmp_path))) % 10**10}")
    yield made
    made.close()
    modal_cloud.clear()
    left = made.live()
    assert not modal_cloud.overlaps(), "an attempt ran in two containers at once"
    for app in left:
        modal_cloud.stop(app)
    assert not left, f"apps were left behind: {left}"
