"""Managers do not raise for the provider: what it refuses, or does not answer, is a failed JobResult, printed in red."""

import json
import subprocess
import sys

import pytest
from tests.cloud.test_rented import PREEMPTED, Rented

from tenyson.cloud.manager import CloudManager
from tenyson.errors import BackendError, ConfigError, MissingDependencyError


class ProviderError(BackendError):
    def __init__(self, reason):
        super().__init__("it says no", next_step="Ask again.")
        self.reason = reason


class Refusing(Rented):
    """Its provider fails where `at` says."""

    def __init__(self, at, error):
        super().__init__()
        self.at, self.error = at, error

    def _reach(self, here):
        if here == self.at:
            raise self.error

    def validate(self, spec):
        self._reach("validate")

    def estimate(self, spec):
        self._reach("estimate")
        return super().estimate(spec)

    def submit(self, spec):
        self._reach("submit")
        return super().submit(spec)


@pytest.mark.parametrize("at", ["validate", "estimate", "submit"])
@pytest.mark.parametrize(
    ("error", "begins"),
    [
        (ProviderError("auth"), "auth: rented: it says no"),
        (ProviderError("quota"), "quota: rented: it says no"),
        (ProviderError("throttled"), "throttled: rented: it says no"),
        (ProviderError("infrastructure"), "infrastructure: rented: it says no"),
        (
            ConnectionRefusedError(111, "Connection refused"),
            "infrastructure: rented: [Errno 111] Connection refused",
        ),
        (TimeoutError("no answer"), "infrastructure: rented: no answer"),
        (
            RuntimeError("of a plugin's own client"),
            "infrastructure: rented: RuntimeError: of a plugin's own client",
        ),
        (
            json.JSONDecodeError("Expecting value", "<html>", 0),
            "infrastructure: rented: JSONDecodeError: Expecting value",
        ),
    ],
)
def test_whatever_a_provider_does_before_the_launch_is_a_failed_result(job, capfd, at, error, begins):
    """At every step before there is a machine, and in red."""
    backend = Refusing(at, error)
    result = CloudManager(backend).run(job())
    assert result.status == "failed"
    assert result.failure_reason.startswith(begins), result.failure_reason
    assert (result.instance_id, result.spot_interruption, backend.submitted) == (None, False, [])
    assert "job failed: " + begins in capfd.readouterr().err


@pytest.mark.parametrize("at", ["validate", "estimate"])
@pytest.mark.parametrize(
    "error",
    [
        ProviderError("user_error"),
        BackendError("the job's folder cannot be written here"),
        ConfigError("gpu: there is no such thing"),
        MissingDependencyError("boto3", needed_for="AWS", install="tenyson-aws"),
    ],
)
def test_a_wrong_argument_or_configuration_raises(job, at, error):
    """Nobody can do anything with a result of it."""
    with pytest.raises(type(error)):
        CloudManager(Refusing(at, error)).run(job())


def test_a_launch_that_fails_takes_nothing_from_an_earlier_job_of_its_name(job, tmp_path):
    """The folder still holds that one's result, with its numbers."""
    folder = tmp_path / "job"
    folder.mkdir()
    left = {"run_id": "job", "status": "success", "total_time_seconds": 9.0, "metrics": {"x": 1.0}}
    (folder / "job_result.json").write_text(json.dumps(left))
    result = CloudManager(Refusing("submit", ProviderError("capacity"))).run(job())
    assert (result.status, result.metrics, result.local_output_dir) == ("failed", {}, None)


def test_a_relaunch_that_fails_says_where_the_attempt_before_it_has_saved(job, tmp_path):
    """The checkpoint is there."""

    class Once(Rented):
        def submit(self, spec):
            if self.submitted:
                raise ProviderError("capacity")
            return super().submit(spec)

    result = CloudManager(Once(PREEMPTED), max_preemptions=1).run(job())
    assert result.failure_reason.startswith("capacity: ")
    assert result.local_output_dir == str(tmp_path / "job")


AWS = """
from pathlib import Path
from tests.fakes.rented_job import Job
from tenyson_aws.manager import AWSManager
result = AWSManager(region="us-east-1").run(Job(Path("outputs"), {}))
print(result.status, result.failure_reason)
"""
MODAL = """
from pathlib import Path
from tests.fakes.rented_job import Job
from tenyson_modal.manager import ModalManager
result = ModalManager(gpu=None, cpu=1.0, memory=512).run(Job(Path("outputs"), {}))
print(result.status, result.failure_reason)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "environment", "begins"),
    [
        (AWS, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
         "failed infrastructure: aws: AWS does not know you: Could not connect"),
        (AWS, {}, "failed auth: aws: AWS does not know you: Unable to locate credentials"),
        (MODAL, {"MODAL_TOKEN_ID": "", "MODAL_TOKEN_SECRET": ""}, "failed auth: modal: Modal refuses: Token missing"),
    ],
)  # fmt: skip
def test_a_cloud_without_credentials_or_an_answer_is_a_failed_result(tmp_path, script, environment, begins):
    """AWSManager.run and ModalManager.run, through the real clients, in a process of their own."""
    import os
    from pathlib import Path

    clean = {
        key: value for key, value in os.environ.items()
        if not key.startswith(("AWS_", "MODAL_"))
    }  # fmt: skip
    nowhere = {"HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true", "AWS_MAX_ATTEMPTS": "1",
               "PYTHONPATH": str(Path(__file__).parents[2]), "TENYSON_HOME": "/var/tmp/tenyson-test-home"}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path, timeout=120,
        env=clean | nowhere | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(begins), done.stdout
    assert "job failed: " in done.stderr
    assert "Traceback" not in done.stderr
