"""The Wordle example of the specification: its import path, its configurations, its experiment."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import yaml

import tenyson.examples.wordle
from tenyson.config.schema import Config
from tenyson.errors import MissingDependencyError
from tenyson.examples.wordle import experiment
from tenyson.examples.wordle.wordle_task import WordleTask
from tenyson.jobs.result import JobResult

FOLDER = Path(tenyson.examples.wordle.__file__).parent


def test_the_specifications_import_path_is_the_plugins_task():
    """The alias is thin."""
    from tenyson_wordle.task import WordleTask as theirs

    assert WordleTask is theirs


@pytest.mark.parametrize("name", ["sft", "rl", "eval"])
def test_the_configurations_of_the_example_are_valid(name):
    """The file that the specification's snippet opens passes the schema, and its task can be built."""
    config = Config.model_validate(yaml.safe_load((FOLDER / "configs" / f"{name}_config.yaml").read_text()))
    assert config.run.id
    assert WordleTask(**config.task.args)


def alias_without(hidden: str) -> str:
    code = f"""
    import sys

    class Hide:
        def find_spec(self, name, path=None, target=None):
            if name.partition(".")[0] == {hidden!r}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name={hidden!r})

    sys.meta_path.insert(0, Hide())
    try:
        import tenyson.examples.wordle.wordle_task
    except ImportError as error:
        print(type(error).__name__, error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_missing_plugin_is_told_with_its_pip_line():
    """And only the plugin itself is: a broken dependency of it is not disguised."""
    assert alias_without("tenyson_wordle").startswith(MissingDependencyError.__name__)
    assert "pip install 'tenyson-wordle'" in alias_without("tenyson_wordle")
    assert alias_without("pydantic").startswith("ModuleNotFoundError No module named 'pydantic'")


class Recorder:
    """A manager that runs nothing: each job leaves an adapter, the evaluation numbers."""

    def __init__(self, root: Path, broken: str = "") -> None:
        self.root, self.broken, self.jobs = root, broken, []

    def run(self, job):
        self.jobs.append(job)
        name = type(job).__name__
        folder = self.root / name
        (folder / "adapter").mkdir(parents=True)
        if name == self.broken:
            return JobResult(
                name, "failed", 1.0, local_output_dir=str(folder), failure_reason="out of memory"
            )
        metrics = {"win_rate": 0.25} if name == "EvalJob" else {}
        url = "https://wandb.ai/me/wordle/runs/1" if name == "SFTJob" else None
        return JobResult(name, "success", 2.0, metrics, wandb_url=url, local_output_dir=str(folder))


def test_the_experiment_chains_three_jobs_through_any_manager(tmp_path):
    """SFT, RL from SFT's adapter, evaluation of RL's adapter; then status, metrics and W&B links in the report."""
    cloud = Recorder(tmp_path)
    report = experiment.main(cloud, report=tmp_path / "final_report.md")
    assert [type(job).__name__ for job in cloud.jobs] == ["SFTJob", "RLJob", "EvalJob"]
    adapters = [job.spec().config["model"].get("adapter") for job in cloud.jobs]
    assert adapters == [None, str(tmp_path / "SFTJob" / "adapter"), str(tmp_path / "RLJob" / "adapter")]
    text = report.read_text()
    assert "**success**" in text
    assert "- win_rate: 0.25" in text
    assert "[loss](https://wandb.ai/me/wordle/runs/1)" in text


def test_a_failed_step_is_in_the_report(tmp_path):
    """Nothing after it ran, and the report says so."""
    cloud = Recorder(tmp_path, broken="RLJob")
    text = experiment.main(cloud, report=tmp_path / "final_report.md", on_failure="abort").read_text()
    assert "**failed**" in text
    assert "| rl | RLJob | failed |" in text
    assert "The evaluation was not reached." in text
