"""What goes to the machine: wheels of what is installed from source here, and the versions of here."""

import zipfile

import pytest

from tenyson.cloud.remote.bundle import make_parcel
from tenyson.cloud.remote.input_files import baggage, import_roots
from tenyson.jobs.spec import JobSpec
from tenyson_aws.prices.catalog import MACHINES, with_gpu_memory


def spec(task="tenyson_wordle.task:WordleTask", **config):
    return JobSpec(
        "r", "sft", task, {"run": {"id": "r", "output_dir": "outputs"}, "model": {"name": "m"}, **config}
    )


def test_what_is_installed_from_source_goes_as_wheels_and_the_rest_as_pins(monkeypatch):
    """Of this checkout: core, aws and the task's distribution; its files are in the wheel."""
    monkeypatch.setenv("TENYSON_HOME", "/var/tmp/tenyson-test-home")
    parcel = make_parcel(spec(), ["tenyson-aws"])
    names = {wheel.name.split("-")[0] for wheel in parcel.wheels}
    assert names == {"tenyson_core", "tenyson_aws", "tenyson_wordle"}
    assert any(
        line.startswith("tenyson-core[train] @ file://WHEELS/tenyson_core") for line in parcel.requirements
    )
    pins = dict(line.split("==") for line in parcel.constraints)
    assert pins["pydantic"]
    assert pins["torch"].replace(".", "").isdigit(), (
        "a build for this machine's CPU is none for that machine's GPU"
    )
    wheel = next(wheel for wheel in parcel.wheels if wheel.name.startswith("tenyson_core"))
    assert "tenyson/cloud/remote/ssh/machine/watchdog.sh" in zipfile.ZipFile(wheel).namelist()


def test_the_environments_name_changes_with_its_contents_only(monkeypatch):
    """So that it is made once."""
    monkeypatch.setenv("TENYSON_HOME", "/var/tmp/tenyson-test-home")
    assert make_parcel(spec(), ["tenyson-aws"]).key == make_parcel(spec(), ["tenyson-aws"]).key
    assert make_parcel(spec(), ["tenyson-aws"]).key != make_parcel(spec(), ["tenyson-aws"], ["zstd"]).key
    assert "vllm" in str(make_parcel(spec(generation={"engine": "vllm"}), ["tenyson-aws"]).requirements)


def test_files_that_a_configuration_names_go_along_and_system_paths_are_refused(tmp_path, monkeypatch):
    """Adapter, checkpoint, task file, and modules that no distribution has."""
    from tenyson.errors import BackendError

    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "loose"))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "task.py").write_text("")
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "my_loose_module.py").write_text("")
    found = baggage(spec(str(tmp_path / "task.py"), model={"name": "m", "adapter": "adapter"}))
    assert found == [tmp_path / "adapter", tmp_path / "task.py"]
    loose = spec("my_loose_module:Task")
    assert baggage(loose) == [tmp_path / "loose" / "my_loose_module.py"]
    assert import_roots(loose) == [str(tmp_path / "loose")]
    with pytest.raises(BackendError, match="this path belongs to the system"):
        baggage(spec(model={"name": "/etc/ssl"}))


def test_types_by_gpu_memory_are_the_cheapest_first_and_none_has_less():
    """With as few GPUs as possible."""
    for gb in (16, 24, 40, 80, 100):
        names = with_gpu_memory(gb)
        machines = [MACHINES[name] for name in names]
        assert machines
        assert all(machine.gpu_memory_gb >= gb for machine in machines)
        assert [machine.per_hour for machine in machines] == sorted(machine.per_hour for machine in machines)
    assert with_gpu_memory(1000) == []
