"""What goes to the machine: wheels of what is installed from source here, and the versions of here."""

import re
import zipfile
from pathlib import Path

import pytest

import tenyson.rewards
from tenyson.cloud.remote.bundle import make_bundle
from tenyson.cloud.remote.input_files import find_input_files, import_roots, variables_of
from tenyson.cloud.remote.task_code import EXTRAS
from tenyson.errors import BackendError
from tenyson.jobs.spec import JobSpec


def spec(task="tenyson_wordle.task:WordleTask", **config):
    return JobSpec(
        "r", "sft", task, {"run": {"id": "r", "output_dir": "outputs"}, "model": {"name": "m"}, **config}
    )


def test_what_is_installed_from_source_goes_as_wheels_and_the_rest_as_pins(monkeypatch):
    """Of this checkout: core, aws and the task's distribution; its files are in the wheel."""
    monkeypatch.setenv("TENYSON_HOME", "/var/tmp/tenyson-test-home")
    bundle = make_bundle(spec(), ["tenyson-aws"])
    names = {wheel.name.split("-")[0] for wheel in bundle.wheels}
    assert names == {"tenyson_core", "tenyson_aws", "tenyson_wordle"}
    assert any(
        line.startswith("tenyson-core[train] @ file://WHEELS/tenyson_core") for line in bundle.requirements
    )
    pins = dict(line.split("==") for line in bundle.constraints)
    assert pins["pydantic"]
    assert pins["torch"].replace(".", "").isdigit(), (
        "a build for this machine's CPU is none for that machine's GPU"
    )
    wheel = next(wheel for wheel in bundle.wheels if wheel.name.startswith("tenyson_core"))
    assert "tenyson/cloud/remote/ssh/machine/watchdog.sh" in zipfile.ZipFile(wheel).namelist()


@pytest.mark.slow
def test_the_environments_name_changes_with_its_contents_only(monkeypatch):
    """So that it is made once."""
    monkeypatch.setenv("TENYSON_HOME", "/var/tmp/tenyson-test-home")
    assert make_bundle(spec(), ["tenyson-aws"]).key == make_bundle(spec(), ["tenyson-aws"]).key
    assert make_bundle(spec(), ["tenyson-aws"]).key != make_bundle(spec(), ["tenyson-aws"], ["zstd"]).key
    assert "vllm" in str(make_bundle(spec(generation={"engine": "vllm"}), ["tenyson-aws"]).requirements)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "extras"),
    [
        ("from tenyson import rewards\nr = [rewards.math(), rewards.exact()]", ["math"]),
        ("from tenyson import rewards as ready\nready.json_schema({})", ["json"]),
        ("from tenyson.rewards import JudgeModel, judge as asked", ["openai"]),
        ("from tenyson.rewards.symbolic import math", ["math"]),
        ("import tenyson.rewards\ntenyson.rewards.judge(None)", ["openai"]),
        ("from tenyson.rewards import *", ["json", "math", "openai"]),
        ("from tenyson import rewards\nmade = getattr(rewards, 'ma' + 'th')()", ["json", "math", "openai"]),
        ("import math\nfrom tenyson import rewards\nx = math.pi, rewards.number()", []),
        ("from acme import rewards\nrewards.math()", []),
        ("this is no Python: rewards", []),
    ],
)
def test_a_task_in_one_file_has_there_what_its_rewards_import(tmp_path, monkeypatch, code, extras):
    """No distribution could name it; what the code cannot be seen to need is not installed."""
    monkeypatch.setenv("TENYSON_HOME", "/var/tmp/tenyson-test-home")
    file = tmp_path / "task.py"
    file.write_text(code)
    marks = ",".join(sorted(["train", *extras]))
    for task in (str(file), f"{file}:Task"):
        bundle = make_bundle(spec(task), ["tenyson-aws"])
        assert any(line.startswith(f"tenyson-core[{marks}] @ ") for line in bundle.requirements), (
            bundle.requirements
        )


def test_a_module_that_no_distribution_has_is_read_whole(tmp_path, monkeypatch):
    """The rewards may be in another file of its package; the versions are those of here."""
    monkeypatch.setenv("TENYSON_HOME", "/var/tmp/tenyson-test-home")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "loose_world").mkdir()
    (tmp_path / "loose_world" / "__init__.py").write_text("")
    (tmp_path / "loose_world" / "scoring.py").write_text("from tenyson.rewards import math")
    bundle = make_bundle(spec("loose_world.task:Task"), ["tenyson-aws"])
    assert any("tenyson-core[math,train]" in line for line in bundle.requirements)
    assert any(line.startswith("math-verify==") for line in bundle.constraints)


def test_every_extra_that_a_reward_asks_for_is_known():
    """By what the rewards themselves say where a package is missing."""
    sources = Path(tenyson.rewards.__path__[0]).rglob("*.py")
    asked = {
        name for path in sources for name in re.findall(r'install="tenyson-core\[(\w+)\]', path.read_text())
    }
    assert asked == set(EXTRAS.values())
    assert set(EXTRAS) <= set(tenyson.rewards.__all__)


def test_files_that_a_configuration_names_go_along_and_system_paths_are_refused(tmp_path, monkeypatch):
    """Adapter, checkpoint, task file, and modules that no distribution has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path / "loose"))
    (tmp_path / "adapter").mkdir()
    (tmp_path / "task.py").write_text("")
    (tmp_path / "loose").mkdir()
    (tmp_path / "loose" / "my_loose_module.py").write_text("")
    found = find_input_files(spec(str(tmp_path / "task.py"), model={"name": "m", "adapter": "adapter"}))
    assert found == [tmp_path / "adapter", tmp_path / "task.py"]
    loose = spec("my_loose_module:Task")
    assert find_input_files(loose) == [tmp_path / "loose" / "my_loose_module.py"]
    assert import_roots(loose) == [str(tmp_path / "loose")]
    with pytest.raises(BackendError, match="this path belongs to the system"):
        find_input_files(spec(model={"name": "/etc/ssl"}))


def test_secrets_that_the_task_names_go_along_and_no_others(monkeypatch):
    """Such as a judge's key; one that is not set here is left out."""
    monkeypatch.setenv("JUDGE_OPENS", "a-key")
    monkeypatch.setenv("ANOTHER", "b-key")
    for name in ("HF_TOKEN", "NOWHERE"):
        monkeypatch.delenv(name, raising=False)
    assert variables_of({"task": {"secrets": ["JUDGE_OPENS", "NOWHERE"]}}) == {"JUDGE_OPENS": "a-key"}


def test_an_endpoint_takes_its_key_along_and_names_no_files(tmp_path, monkeypatch):
    """`model.name` is a name there, even where a folder is called the same; the package openai is installed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVAL_OPENS", "a-key")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / "m").mkdir()
    endpoint = {"url": "http://host/v1", "api_key_env": "EVAL_OPENS"}
    asked = spec(endpoint=endpoint, generation={"engine": "openai"})
    assert variables_of(asked.config) == {"EVAL_OPENS": "a-key"}
    assert find_input_files(asked) == []
    assert "openai" in str(make_bundle(asked, ["tenyson-aws"]).requirements)
    local = spec(endpoint=endpoint)
    assert variables_of(local.config) == {}
    assert find_input_files(local) == [tmp_path / "m"]
    with pytest.raises(BackendError, match="which another machine does not reach"):
        find_input_files(spec(endpoint={"url": "http://localhost:8000/v1"}, generation={"engine": "openai"}))
