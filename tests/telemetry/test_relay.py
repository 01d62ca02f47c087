"""A job on a rented machine records without a database; whoever rented it carries its spool here and requests there."""

import shutil
import sqlite3
import time

import pytest
from recording import finished, metrics, rollout, rows, started

from tenyson.config.load import parse_config
from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.control import ControlPoller
from tenyson.telemetry.control.requests import ask
from tenyson.telemetry.control.state import Controls
from tenyson.telemetry.relay.relay import Relay
from tenyson.telemetry.spool.relayed import VARIABLE
from tenyson.telemetry.spool.spool import find_spools


class Machine:
    """The far side: a job's telemetry and its poller, in a folder that is copied here look by look."""

    def __init__(self, there, here, db_url, monkeypatch):
        monkeypatch.setenv(VARIABLE, "1")
        there.mkdir()
        here.mkdir()
        self.there, self.here, self.ended = there, here, False
        self.config = {
            "model": {"name": "m"}, "run": {"id": "run-1"},
            "telemetry": {"db_url": db_url, "sinks": ["sql"]},
        }  # fmt: skip
        self.telemetry = open_telemetry(
            parse_config(self.config), there, run_id="run-1", attempt_uid="a" * 32
        )
        self.controls = Controls()
        self.poller = ControlPoller(
            db_url, "run-1", self.controls, run_dir=there, attempt_uid="a" * 32, interval=0.02
        )
        self.relay = Relay(self.config, here, "run-1")

    def look(self):
        """As a look does: files from there, lines to there."""
        left_out = shutil.ignore_patterns("control", "control.taken")
        shutil.copytree(self.there, self.here, dirs_exist_ok=True, ignore=left_out)
        lines = self.relay.carry()
        with (self.there / "control").open("a") as file:
            file.writelines(f"{line}\n" for line in lines)
        self.relay.delivered(lines)
        return lines

    def end(self):
        if not self.ended:
            self.ended = True
            self.poller.close()
            self.telemetry.close()


@pytest.fixture
def machine(db_url, tmp_path, monkeypatch):
    made = Machine(tmp_path / "there", tmp_path / "here", db_url, monkeypatch)
    yield made
    made.end()
    made.relay.close()


def test_what_is_recorded_there_is_here_while_the_job_runs_and_once_in_the_end(machine, db_url):
    """However often it is carried, and by however many relays after each other."""
    machine.telemetry.emit(started(attempt_uid="a" * 32))
    machine.telemetry.emit(metrics(1, phase="sft"))
    machine.look()
    assert [row["step"] for row in rows(db_url, "SELECT step FROM sft_metrics ORDER BY step")] == [1]
    machine.telemetry.emit(rollout())
    machine.telemetry.emit(metrics(2, phase="sft"))
    machine.look()
    machine.look()
    assert len(rows(db_url, "SELECT * FROM rollouts")) == 1
    machine.relay.close()
    machine.relay = Relay(machine.config, machine.here, "run-1")
    machine.telemetry.emit(finished())
    machine.end()
    machine.look()
    assert machine.relay.finish()
    assert find_spools(machine.here) == []
    assert [row["step"] for row in rows(db_url, "SELECT step FROM sft_metrics ORDER BY step")] == [1, 2]
    assert rows(db_url, "SELECT status FROM attempts") == [{"status": "success"}]


def test_a_request_made_here_is_obeyed_there_and_answered_here(machine, db_url):
    """Once, even if its line arrives twice; the row says at which step."""
    machine.telemetry.emit(started(attempt_uid="a" * 32))
    machine.look()
    ask(db_url, "run-1", "extend", argument=7)
    lines = machine.look()
    assert [line.partition(" id=")[0] for line in lines] == ["extend 7"]
    with (machine.there / "control").open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
    deadline = time.monotonic() + 10
    while machine.controls.extend == 0:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.2)
    assert machine.controls.extend == 7
    machine.controls.applied("extend", 41)
    deadline = time.monotonic() + 10
    while rows(db_url, "SELECT status FROM run_controls WHERE verb = 'extend'") != [{"status": "applied"}]:
        assert time.monotonic() < deadline
        machine.look()
        time.sleep(0.02)
    assert rows(db_url, "SELECT applied_step FROM run_controls WHERE verb = 'extend'") == [
        {"applied_step": 41}
    ]
    assert machine.look() == []


def test_while_the_database_is_away_everything_waits_here_and_it_is_told(tmp_path, monkeypatch):
    """Nothing raises; afterwards nothing is missing."""
    path = tmp_path / "t.db"
    machine = Machine(tmp_path / "there", tmp_path / "here", f"sqlite:///{path}", monkeypatch)
    monkeypatch.setattr("tenyson.telemetry.database.engine.BUSY_SECONDS", 0.1)
    machine.telemetry.emit(started(attempt_uid="a" * 32))
    machine.look()
    with sqlite3.connect(path, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        machine.relay.close()
        machine.telemetry.emit(metrics(1, phase="sft"))
        assert machine.look() == []
        assert "locked" in machine.relay.trouble
        other.execute("ROLLBACK")
    machine.look()
    assert machine.relay.trouble is None
    assert len(rows(f"sqlite:///{path}", "SELECT * FROM sft_metrics")) == 1
    machine.end()
    machine.relay.close()
