"""Tenyson's own tasks, sinks and backends keep the contracts that it gives to plugin authors."""

import sys

import pytest

from tenyson.cloud.local import LocalBackend
from tenyson.telemetry.sinks.console import ConsoleSink
from tenyson.telemetry.sinks.jsonl import JsonlSink
from tenyson.telemetry.sinks.sql import SqlSink
from tenyson.testing.backends import TICKING, BackendContract
from tenyson.testing.sinks import SinkContract
from tenyson.testing.tasks import TaskContract
from tenyson_wordle.task import WordleTask


class TestLocalBackend(BackendContract):
    """Processes of this machine."""

    @pytest.fixture
    def backend(self, tmp_path):
        return LocalBackend(tmp_path / "outputs", (sys.executable, *TICKING))


class TestJsonl(SinkContract):
    """The file of events."""

    sink = JsonlSink


class TestConsole(SinkContract):
    """The lines that a controller reads."""

    sink = ConsoleSink


class TestSql(SinkContract):
    """The database."""

    sink = SqlSink

    @pytest.fixture(autouse=True)
    def _database(self, tmp_path, monkeypatch):
        monkeypatch.setattr(type(self), "settings", {"telemetry": {"db_url": f"sqlite:///{tmp_path}/t.db"}})


class TestWordle(TaskContract):
    """With its held-out secrets."""

    @pytest.fixture
    def task(self):
        return WordleTask()


BROKEN = """
import itertools, pytest
from tenyson.tasks import Reward, Sample, TaskPlugin
from tenyson.testing.tasks import TaskContract

COUNT = itertools.count()


class Task(TaskPlugin):
    def rl_samples(self, split, seed):
        for number in range(3):
            yield Sample(str(next(COUNT)), [{{"role": "user", "content": f"{{number}} {{split if {apart} else ''}}"}}])

    def rewards(self):
        return [Reward("long", lambda rollout: 1 / len(rollout.text))]


class TestBroken(TaskContract):
    @pytest.fixture
    def task(self):
        return Task()
"""


def test_a_task_that_breaks_the_contract_is_told_where(tmp_path, pytester_run):
    """Samples of two splits alike, ids that change, a reward that raises."""
    told = pytester_run(tmp_path, BROKEN.format(apart=False))
    for name in (
        "test_a_seed_gives_the_same_samples_again",
        "test_what_is_measured_on_was_not_trained_on",
        "test_rewards_have_names_of_their_own_and_take_any_answer",
    ):
        assert f"FAILED test_it.py::TestBroken::{name}" in told
    assert "rl: train and eval share samples" in told
    assert "test_what_is_measured_on_was_not_trained_on" not in pytester_run(
        tmp_path, BROKEN.format(apart=True)
    )


@pytest.fixture
def pytester_run():
    """Runs pytest on a file as a plugin's author would."""
    import subprocess

    def run(folder, text):
        (folder / "test_it.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout

    return run
