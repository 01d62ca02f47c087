"""Another cloud is a small package: with core's SSH layer alone, a job runs on a machine of the stand-in that knows nothing of AWS."""

import json

import pytest

from tenyson.cloud.backend import Estimate
from tenyson.cloud.manager import CloudManager
from tenyson.cloud.remote.ssh.backend import SSHBackend
from tenyson.cloud.remote.ssh.session import SSHSession
from tenyson_aws.api.clients import Clients
from tenyson_aws.ec2.access import find_key
from tenyson_aws.ec2.instance import Instance
from tenyson_aws.ec2.launch import Launcher
from tenyson_aws.record import MachineRecord
from tenyson_aws.settings import AWSSettings

pytestmark = pytest.mark.timeout(300)


class ShedSession(SSHSession[MachineRecord]):
    provider = "the shed"


class ShedBackend(SSHBackend[MachineRecord]):
    """What a cloud adds; its machines are those of the stand-in."""

    name = "shed"
    record_class = MachineRecord
    session_class = ShedSession

    def __init__(self, output_dir, **settings):
        super().__init__(settings, output_dir)
        self._settings = AWSSettings(**settings)
        self._clients = Clients(None)

    def estimate(self, spec):
        return Estimate(0.0, 0.0, "it is ours")

    def list(self):
        return []

    def _launch(self, record, folder):
        Launcher(self._clients, self._settings, self._say).launch(record, folder)

    def _machine(self, record):
        return Instance(self._clients, record.instance_id, record.launched_at)

    def _give_back(self, record, folder):
        if record.instance_id is not None:
            self._machine(record).terminate(self._say)

    def _find(self, run_id, folder):
        return None


@pytest.fixture
def shed(aws):
    """With a key of its settings: one that is made here belongs to a backend's name."""
    key = find_key(Clients(None), AWSSettings(**aws.ec2.settings)).path
    settings = aws.ec2.settings | {"key_path": str(key), "runner": aws.ec2.runners["ticking"]}
    made = ShedBackend(str(aws.folder), **settings)
    yield made
    made.close()


@pytest.mark.slow
def test_a_job_runs_there_without_a_package_of_any_cloud_on_the_machine(aws, shed, capfd):
    """Core's own start module and guard; outputs here, the machine given back."""
    result = CloudManager(shed).run(aws.job(steps=4, save_every=2))
    said = capfd.readouterr().err
    assert result.status == "success", result.failure_reason
    folder = aws.folder / "job"
    assert json.loads((folder / "job_result.json").read_text())["metrics"] == {"steps": 4}
    assert (folder / "checkpoints" / "step-4" / "state.json").is_file()
    assert "shed: " in said
    assert "is terminated" in said
    assert aws.ec2.live() == []
