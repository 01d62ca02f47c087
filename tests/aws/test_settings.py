"""tenyson-aws before anything is launched: its settings, its cost at import time."""

import os
import subprocess
import sys

import pytest

from tenyson.cloud.aws import AWSManager
from tenyson.errors import ConfigError
from tenyson_aws.prices.catalog import MACHINES, with_gpu_memory


def test_the_specifications_arguments_are_taken():
    """The call of the README works as written."""
    manager = AWSManager(
        instance_type="g5.2xlarge", key_name="my-key-name", key_path="~/.ssh/my-key.pem", security_group="sg-...",
        use_spot=True, spot_max_price=1.5,
    )  # fmt: skip
    assert manager.backend.settings["use_spot"] is True


def test_all_wrong_settings_are_named_at_once_with_the_nearest_name():
    """An unknown key and a wrong value, in one error."""
    with pytest.raises(ConfigError) as caught:
        AWSManager(instance_typ="g5.xlarge", disk_gb=-1)
    text = str(caught.value)
    assert "backend.settings.instance_typ: unknown key (did you mean backend.settings.instance_type?)" in text
    assert "backend.settings.disk_gb" in text


def test_the_plugin_imports_neither_boto3_nor_pydantic():
    """Listing plugins must stay cheap."""
    code = "import tenyson_aws.plugin, sys; assert not {'boto3', 'pydantic', 'asyncssh'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
def test_a_region_that_nobody_has_set_is_the_users_mistake(tmp_path):
    """Exit status 2, as for any other setting, and what to set."""
    (tmp_path / "job.yaml").write_text("model: {name: m}\n")
    names = ("AWS_DEFAULT_REGION", "AWS_REGION", "AWS_PROFILE", "AWS_CONFIG_FILE")
    environment = {name: value for name, value in os.environ.items() if name not in names}
    words = ["run", "--task", "wordle", "--job", "eval", "--config", "job.yaml", "--backend", "aws"]
    told = subprocess.run(
        [sys.executable, "-m", "tenyson", *words],
        cwd=tmp_path, env={**environment, "HOME": str(tmp_path)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 2, told.stderr
    assert "no AWS region is set" in told.stderr
    assert "Traceback" not in told.stderr


def test_types_by_gpu_memory_are_the_cheapest_first_and_none_has_less():
    """With as few GPUs as possible."""
    for gb in (16, 24, 40, 80, 100):
        names = with_gpu_memory(gb)
        machines = [MACHINES[name] for name in names]
        assert machines
        assert all(machine.gpu_memory_gb >= gb for machine in machines)
        assert [machine.per_hour for machine in machines] == sorted(machine.per_hour for machine in machines)
    assert with_gpu_memory(1000) == []
