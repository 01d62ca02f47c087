"""The wheels: what is in them, how much they bring along, that they work without the repository, and the import paths."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

CONFIG = """
run: {id: from-wheels}
model: {factory: "tenyson.testing.tiny:build"}
training: {max_steps: 2, batch_size: 4}
"""

TASK = """
from tenyson.tasks import Sample, TaskPlugin

class Letters(TaskPlugin):
    name = "letters"

    def sft_samples(self, split, seed):
        for letter in "abcdefgh":
            messages = [{"role": "user", "content": letter}], [{"role": "assistant", "content": letter}]
            yield Sample(letter, *messages)
"""

PATHS = {
    "tenyson.cloud.aws": "AWSManager",
    "tenyson.cloud.modal": "ModalManager",
    "tenyson.jobs.sft": "SFTJob",
    "tenyson.jobs.rl": "RLJob",
    "tenyson.jobs.eval": "EvalJob",
    "tenyson.jobs.result": "JobResult",
    "tenyson.pipeline": "run_pipeline",
    "tenyson.core.control": "main",
    "tenyson.runner": "main",
    "tenyson.reporting": "ReportBuilder",
    "tenyson.examples.wordle.wordle_task": "WordleTask",
}

MYPY = """
[mypy]
[mypy-torch.*,transformers.*,trl.*,peft.*,vllm.*,datasets.*,accelerate.*,boto3.*,botocore.*,modal.*,wandb.*]
follow_imports = skip
"""
"""A user's mypy follows these as well, which takes minutes and says nothing about Tenyson."""

SNIPPET = (
    "\n".join(f"from {module} import {name}" for module, name in PATHS.items() if name != "main")
    + """

import tenyson.core.control
import tenyson.runner

wrong: int = JobResult.load("x").run_id
also_wrong: int = WordleTask().name
"""
)


@pytest.mark.slow
def test_every_wheel_is_typed_licensed_and_holds_its_own_module_alone(wheels: dict[str, Path]) -> None:
    """py.typed, the licence, a description; no file of another package, no tests, no caches."""
    modules = {
        "tenyson-core": "tenyson",
        "tenyson-aws": "tenyson_aws",
        "tenyson-modal": "tenyson_modal",
        "tenyson-wordle": "tenyson_wordle",
        "tenyson-reasoning-gym": "tenyson_reasoning_gym",
        "tenyson-textarena": "tenyson_textarena",
        "tenyson-openenv": "tenyson_openenv",
        "tenyson-verifiers": "tenyson_verifiers",
    }
    for package, module in modules.items():
        with zipfile.ZipFile(wheels[package]) as wheel:
            names = wheel.namelist()
            about = next(wheel.read(name).decode() for name in names if name.endswith(".dist-info/METADATA"))
        assert f"{module}/py.typed" in names
        assert any(name.endswith("/licenses/LICENSE") for name in names)
        assert {name.split("/")[0].split("-")[0] for name in names} == {module, package.replace("-", "_")}
        # A template has tests: those of whoever writes a plugin.
        assert not [
            name
            for name in names
            if "__pycache__" in name or ("/tests/" in name and "/templates/" not in name)
        ]
        assert "License-Expression: Apache-2.0" in about
        assert len(about.split("\n\n", 1)[1]) > 200, f"{package} has no README to speak of"


@pytest.mark.slow
def test_files_that_are_not_python_are_in_the_wheels(wheels: dict[str, Path]) -> None:
    """Every file under src/ is in the wheel: templates, presets, word lists."""
    root = Path(__file__).parents[2]
    for package, path in wheels.items():
        source = next(root.glob(f"**/{package}/src"))
        listing = ["git", "-C", str(source), "ls-files", "."]
        tracked = subprocess.run(listing, capture_output=True, text=True, check=True).stdout.splitlines()
        with zipfile.ZipFile(path) as wheel:
            missing = set(tracked) - set(wheel.namelist())
        assert tracked
        assert not missing, package


@pytest.mark.slow
def test_core_is_light(light: object) -> None:
    """`pip install tenyson-core` brings at most 20 distributions and 50 MB in all, and neither torch nor numpy."""
    site = light.site_packages  # type: ignore[attr-defined]
    names = {found.metadata["Name"].lower() for found in metadata.distributions(path=[str(site)])}
    size = sum(
        file.stat().st_size for file in site.rglob("*") if file.is_file() and "__pycache__" not in file.parts
    )
    assert len(names) <= 20, sorted(names)
    assert size <= 50e6, f"{size / 1e6:.1f} MB"
    assert not names & {"torch", "numpy", "boto3", "modal"}


def test_every_dependency_has_a_lower_bound(wheels: dict[str, Path]) -> None:
    """A requirement without a bound resolves to something that nobody has tried."""
    for path in wheels.values():
        with zipfile.ZipFile(path) as wheel:
            file = next(name for name in wheel.namelist() if name.endswith("METADATA"))
            about = metadata.PathDistribution(zipfile.Path(wheel, file.split("/")[0] + "/")).requires or []
        for text in about:
            requirement = Requirement(text)
            bounded = any(spec.operator in (">=", "==", "~=") for spec in requirement.specifier)
            assert bounded or requirement.name.startswith("tenyson"), text


@pytest.mark.slow
def test_the_command_line_works_from_wheels(installed: object, tmp_path: Path) -> None:
    """In a clean environment `tenyson plugins --check` finds all packages, loads everything and is content."""
    done = installed.run("tenyson", "plugins", "--check", "--json", cwd=tmp_path)  # type: ignore[attr-defined]
    assert done.returncode == 0, done.stdout + done.stderr
    text = json.dumps(json.loads(done.stdout))
    for package in (
        "tenyson-core",
        "tenyson-aws",
        "tenyson-modal",
        "tenyson-wordle",
        "tenyson-reasoning-gym",
        "tenyson-textarena",
        "tenyson-openenv",
        "tenyson-verifiers",
    ):
        assert package in text, package


@pytest.mark.slow
def test_every_import_path_of_the_specification_works_from_wheels(installed: object, tmp_path: Path) -> None:
    """Every path imports in a clean environment, without torch, and gives the name that the specification uses."""
    code = f"""
import importlib, json, sys
found = {{m: hasattr(importlib.import_module(m), n) for m, n in {PATHS!r}.items()}}
heavy = sorted({{"torch", "transformers", "boto3", "modal", "sqlalchemy"}} & set(sys.modules))
print(json.dumps([found, heavy]))
"""
    done = installed.run("python", "-c", code, cwd=tmp_path)  # type: ignore[attr-defined]
    assert done.returncode == 0, done.stderr
    found, heavy = json.loads(done.stdout)
    assert found == dict.fromkeys(PATHS, True)
    assert heavy == []


@pytest.mark.slow
def test_the_wordle_task_is_also_a_file(installed: object) -> None:
    """Specification, runner cli: --task-module takes tenyson/examples/wordle/wordle_task.py; wheels have that file."""
    folder = installed.site_packages / "tenyson" / "examples" / "wordle"  # type: ignore[attr-defined]
    assert (folder / "wordle_task.py").is_file()
    assert (folder / "configs" / "sft_config.yaml").is_file()


@pytest.fixture(scope="module")
def mypy_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What mypy has read of the standard library serves both times."""
    return tmp_path_factory.mktemp("mypy")


@pytest.mark.slow
@pytest.mark.parametrize("where", ["editable", "wheels"])
def test_mypy_resolves_the_import_paths(
    where: str, request: pytest.FixtureRequest, tmp_path: Path, mypy_cache: Path
) -> None:
    """mypy sees the types behind every path: it misses no import, and finds exactly the two planted mistakes."""
    python = sys.executable if where == "editable" else str(request.getfixturevalue("installed").python)
    (tmp_path / "snippet.py").write_text(SNIPPET, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text(MYPY, encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        "mypy.ini",
        "--python-executable",
        python,
        "snippet.py",
    ]
    done = subprocess.run(
        [*command, "--follow-imports", "silent", "--cache-dir", mypy_cache],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 2, done.stdout + done.stderr
    assert all("Incompatible types in assignment" in error for error in errors), done.stdout


@pytest.mark.slow
@pytest.mark.train
def test_a_tiny_job_runs_from_wheels(training: object, tmp_path: Path) -> None:
    """Specification, runner cli: the remote entry point trains where Tenyson came in wheels (torch is borrowed)."""
    (tmp_path / "config.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "letters.py").write_text(TASK, encoding="utf-8")
    where = training.run("python", "-c", "import tenyson; print(tenyson.__file__)", cwd=tmp_path)  # type: ignore[attr-defined]
    assert str(training.path) in where.stdout  # type: ignore[attr-defined]
    done = training.run(  # type: ignore[attr-defined]
        "python", "-m", "tenyson.runner", "--job-type", "sft", "--config", "config.yaml", "--task-module", "letters.py",
        cwd=tmp_path, TENYSON_CACHE=str(tmp_path / "cache"),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(
        (tmp_path / "outputs" / "from-wheels" / "job_result.json").read_text(encoding="utf-8")
    )
    assert result["status"] == "success"
