"""Control: stopping a run from another process, by the specification's command and by a user's own SQL."""

import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from tenyson.errors import TelemetryError
from tenyson.telemetry.control import (
    MANUAL_STOP,
    Asked,
    ControlPoller,
    Controls,
    StopSignal,
    ask,
    request_stop,
)
from tenyson.telemetry.dispatch import Telemetry
from tenyson.telemetry.events import RunFinished, RunStarted
from tenyson.telemetry.sinks.sink import BaseSink
from tenyson.telemetry.sinks.sql import SqlSink

FAST = 0.05


def wait_for(condition, seconds=30.0):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.01)
    return condition()


def control(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "tenyson.core.control", *arguments], capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def start(make_config, tmp_path):
    """Starts a run: its row in `runs`, its poller and its signal, as a job does."""
    open_now = []

    def start(db_url, run_id="run-1", telemetry=None):
        stop = StopSignal()
        poller = ControlPoller(db_url, run_id, stop, telemetry=telemetry, interval=FAST)
        open_now.append(poller)
        mark(db_url, RunStarted(run_id=run_id, job_type="sft", task="echo", config={}, output_dir="o"))
        return stop, poller

    def mark(db_url, event):
        sink = SqlSink(make_config(telemetry={"db_url": db_url}, run={"id": event.run_id}), tmp_path)
        sink.write(event)
        sink.close()

    start.mark = mark
    yield start
    for poller in open_now:
        poller.close()


class Heard(BaseSink):
    """A sink that keeps what it hears."""

    name = "heard"

    def __init__(self):
        self.messages = []

    def write(self, event):
        self.messages.append((event.level, event.message))

    def close(self):
        pass


@pytest.mark.slow
def test_the_specified_command_stops_a_run_from_another_process(start, db_url):
    """Specification, telemetry: `python -m tenyson.core.control --run-id ... --db-url ...`."""
    stop, _ = start(db_url)
    assert not stop.requested
    done = control("--run-id", "run-1", "--db-url", db_url)
    assert (done.returncode, done.stderr) == (0, "")
    assert "run run-1 ends after its current step" in done.stdout
    assert wait_for(lambda: stop.requested)
    assert stop.reason == MANUAL_STOP


def test_a_request_is_seen_within_about_a_second(make_config, sqlite_url):
    """The poller looks once a second by default."""
    stop = StopSignal()
    with ControlPoller(sqlite_url, "run-1", stop):
        with pytest.raises(TelemetryError):
            request_stop(sqlite_url + ".other", "run-1")
        request_stop(sqlite_url, "run-1")
        assert wait_for(lambda: stop.requested, seconds=10.0)


def test_only_the_named_run_stops(start, sqlite_url):
    """Two runs share a database."""
    stop_1, _ = start(sqlite_url, "run-1")
    stop_2, _ = start(sqlite_url, "run-2")
    request_stop(sqlite_url, "run-2")
    assert wait_for(lambda: stop_2.requested)
    time.sleep(4 * FAST)
    assert not stop_1.requested


@pytest.mark.slow
def test_second_stop_request_is_a_no_op(start, sqlite_url):
    """It says so, before the run has seen the first one and after."""
    assert start(sqlite_url)
    assert request_stop(sqlite_url, "run-1").recorded
    assert not request_stop(sqlite_url, "run-1").recorded
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        seen = "SELECT count(*) FROM run_controls WHERE status = 'accepted'"
        assert wait_for(lambda: connection.execute(seen).fetchone() == (1,))
        rows = connection.execute("SELECT count(*) FROM run_controls").fetchone()
    done = control("--run-id", "run-1", "--db-url", sqlite_url)
    assert done.returncode == 0
    assert "already been requested" in done.stdout
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        assert connection.execute("SELECT count(*) FROM run_controls").fetchone() == rows


@pytest.mark.slow
def test_a_resumed_run_does_not_obey_the_stop_that_ended_it(start, db_url):
    """A stop is aimed at one attempt; a new request stops the new attempt."""
    stop, poller = start(db_url)
    request_stop(db_url, "run-1")
    assert wait_for(lambda: stop.requested)
    poller.close()
    start.mark(db_url, RunFinished(run_id="run-1", status="stopped", result={}))
    again, _ = start(db_url)
    time.sleep(6 * FAST)
    assert not again.requested
    assert request_stop(db_url, "run-1").recorded
    assert wait_for(lambda: again.requested)


def test_a_run_that_was_killed_while_stopping_can_be_stopped_again(start, sqlite_url):
    """Nobody wrote the first attempt's end; the request of then neither stops the second nor hides a new one."""
    stop, poller = start(sqlite_url)
    request_stop(sqlite_url, "run-1")
    assert wait_for(lambda: stop.requested)
    poller.close()
    again, _ = start(sqlite_url)
    assert request_stop(sqlite_url, "run-1").recorded
    assert wait_for(lambda: again.requested)


def test_a_request_while_the_run_still_loads_counts(sqlite_url):
    """From the moment its poller is open, before its row in `runs` is there."""
    stop = StopSignal()
    with ControlPoller(sqlite_url, "run-1", stop, interval=FAST):
        request_stop(sqlite_url, "run-1")
        assert wait_for(lambda: stop.requested)


@pytest.mark.slow
def test_a_request_before_the_run_starts_does_not_count(start, sqlite_url):
    """It is recorded, and the command says that no such run is known."""
    start(sqlite_url, "another")
    done = control("--run-id", "run-1", "--db-url", sqlite_url)
    assert done.returncode == 0
    assert "knows no run run-1" in done.stdout
    stop, _ = start(sqlite_url, "run-1")
    time.sleep(6 * FAST)
    assert not stop.requested


def test_a_run_that_has_ended_is_said_to_have_ended(start, sqlite_url):
    """The request changes nothing for a later attempt, and the command says so."""
    _, poller = start(sqlite_url)
    poller.close()
    start.mark(sqlite_url, RunFinished(run_id="run-1", status="success", result={}))
    done = control("--run-id", "run-1", "--db-url", sqlite_url)
    assert done.returncode == 0
    assert "has ended (success)" in done.stdout


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE run_controls SET stop_requested = 1 WHERE run_id = 'run-1'",
        "INSERT INTO run_controls (run_id, stop_requested) VALUES ('run-1', 1)",
    ],
)
def test_the_stop_requested_flag_can_be_set_by_hand(start, sqlite_url, statement):
    """Specification, telemetry: the flag is `run_controls.stop_requested`, and whoever sets it is obeyed."""
    stop, _ = start(sqlite_url)
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), timeout=30) as connection:
        connection.execute(statement)
    assert wait_for(lambda: stop.requested)


def test_a_database_failure_never_means_stop(start, sqlite_url):
    """The poller says once that it cannot look, goes on looking, and obeys once it can."""
    heard = Heard()
    stop, _ = start(sqlite_url, telemetry=Telemetry([heard]))
    path = sqlite_url.removeprefix("sqlite:///")
    with sqlite3.connect(path, timeout=30) as connection:
        connection.execute("ALTER TABLE run_controls RENAME TO gone")
    assert wait_for(lambda: heard.messages)
    time.sleep(6 * FAST)
    assert not stop.requested
    assert [level for level, _ in heard.messages] == ["warning"]
    with sqlite3.connect(path, timeout=30) as connection:
        connection.execute("ALTER TABLE gone RENAME TO run_controls")
    request_stop(sqlite_url, "run-1")
    assert wait_for(lambda: stop.requested)
    assert wait_for(lambda: [level for level, _ in heard.messages] == ["warning", "info"])


def test_the_first_reason_stands():
    """A signal after a manual stop does not turn it into an interruption."""
    stop = StopSignal()
    stop.set(MANUAL_STOP)
    stop.set("SIGTERM")
    assert (stop.requested, stop.reason) == (True, MANUAL_STOP)


def test_the_command_refuses_a_database_that_is_not_there(tmp_path):
    """A misspelt path gets one line and status 2, and makes no file."""
    done = control("--run-id", "run-1", "--db-url", f"sqlite:///{tmp_path}/typo.db")
    assert done.returncode == 2
    assert "typo.db" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_command_needs_both_options():
    """Usage errors have status 2."""
    done = control("--run-id", "run-1")
    assert done.returncode == 2
    assert "--db-url" in done.stderr


def test_help_imports_nothing_heavy():
    """`--help` of the control command is for a shell: no SQLAlchemy, no pydantic."""
    code = (
        "import sys; from tenyson.core.control import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'sqlalchemy', 'pydantic', 'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.fixture
def steered(start, db_url):
    """A run with its controls, and a user's own SQL on its requests."""
    import sqlalchemy

    from tenyson.telemetry.database.engine import open_database

    engine = open_database(db_url, create=True)
    controls = Controls(StopSignal())
    poller = ControlPoller(db_url, "run-1", controls, attempt_uid="a" * 32, interval=FAST)

    class Run:
        url = db_url

        def sql(self, query):
            with engine.begin() as connection:
                result = connection.execute(sqlalchemy.text(query))
                return [dict(row) for row in result.mappings()] if result.returns_rows else []

        def status(self, verb):
            rows = self.sql(
                f"SELECT status, reason, applied_step FROM run_controls WHERE verb = '{verb}' ORDER BY id"
            )
            return [tuple(row.values()) for row in rows]

    Run.controls = controls
    yield Run()
    poller.close()
    engine.dispose()


def test_a_request_is_pending_then_accepted_then_applied(steered):
    """`applied` comes from the job's own loop, with the step."""
    ask(steered.url, "run-1", "checkpoint")
    assert wait_for(lambda: steered.controls.checkpoint)
    assert wait_for(lambda: steered.status("checkpoint") == [("accepted", None, None)])
    steered.controls.applied("checkpoint", 7)
    assert wait_for(lambda: steered.status("checkpoint") == [("applied", None, 7)])


def test_a_verb_can_be_asked_by_plain_sql(steered):
    """A row of one's own; the columns that are left out have sensible defaults."""
    steered.sql("INSERT INTO run_controls (run_id, verb) VALUES ('run-1', 'pause')")
    assert wait_for(lambda: steered.controls.paused)
    steered.sql("INSERT INTO run_controls (run_id, verb, argument) VALUES ('run-1', 'extend', 12)")
    assert wait_for(lambda: steered.controls.extend == 12)
    steered.sql("INSERT INTO run_controls (run_id, stop_requested) VALUES ('run-1', true)")
    assert wait_for(lambda: steered.controls.stop.requested)


@pytest.mark.parametrize(
    ("verb", "argument", "reason"),
    [
        ("jump", None, "there is no jump"),
        ("extend", None, "a number of steps"),
        ("resume", None, "not paused"),
    ],
)
def test_what_cannot_be_done_is_rejected_with_a_reason(steered, verb, argument, reason):
    """The row says so; the run goes on."""
    ask(steered.url, "run-1", verb, argument=argument)
    assert wait_for(lambda: steered.status(verb) and steered.status(verb)[0][0] == "rejected")
    assert reason in steered.status(verb)[0][1]
    assert not steered.controls.stop.requested


@pytest.mark.slow
def test_the_same_key_asks_once(steered):
    """A script that is run again does not extend twice."""
    assert ask(steered.url, "run-1", "extend", argument=5, key="morning").recorded
    assert not ask(steered.url, "run-1", "extend", argument=5, key="morning").recorded
    assert wait_for(lambda: steered.controls.extend == 5)
    done = control(
        "--run-id", "run-1", "--db-url", steered.url, "--verb", "extend", "--steps", "5", "--key", "morning"
    )
    assert "already been requested" in done.stdout
    time.sleep(6 * FAST)
    assert steered.controls.extend == 5


def test_a_request_for_another_attempt_is_not_obeyed(steered, make_config, tmp_path):
    """`attempt` names the one it is meant for."""
    from tenyson.telemetry.build import open_telemetry

    config = make_config(telemetry={"db_url": steered.url, "sinks": ["sql"]})
    telemetry = open_telemetry(config, tmp_path / "run-1", attempt_uid="a" * 32)
    telemetry.emit(RunStarted(run_id="run-1", job_type="sft", task="echo", config={}, output_dir="o"))
    telemetry.close()
    ask(steered.url, "run-1", "pause", attempt=7)
    assert wait_for(lambda: steered.status("pause") == [("expired", None, None)])
    assert not steered.controls.paused
    ask(steered.url, "run-1", "pause", attempt=1)
    assert wait_for(lambda: steered.controls.paused)


def test_who_asked_and_when_is_recorded(steered):
    """For those who find their run stopped."""
    ask(steered.url, "run-1", "stop", requested_by="me@here")
    (row,) = steered.sql("SELECT requested_by, requested_at FROM run_controls WHERE verb = 'stop'")
    assert row["requested_by"] == "me@here"
    assert abs(row["requested_at"] - time.time()) < 60


def test_what_is_open_at_the_end_is_answered(start, sqlite_url):
    """A run that ends by itself leaves no request that looks as if it still might be followed."""
    _, poller = start(sqlite_url)
    ask(sqlite_url, "run-1", "checkpoint")
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as connection:
        seen = "SELECT count(*) FROM run_controls WHERE status = 'accepted'"
        assert wait_for(lambda: connection.execute(seen).fetchone() == (1,))
        poller.close()
        (row,) = connection.execute(
            "SELECT status, reason FROM run_controls WHERE verb = 'checkpoint'"
        ).fetchall()
    assert row == ("rejected", "the run ended before it could")


@pytest.mark.slow
def test_no_request_is_lost_that_comes_while_the_loop_answers_another():
    """The poller's thread takes up while the loop's does and answers: every step is added, and every row answered."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        controls, asked, added = Controls(), 400_000, 0
        poller = threading.Thread(
            target=lambda: [controls.accept(Asked("extend", 1, row=row)) for row in range(asked)]
        )
        poller.start()
        while poller.is_alive() or controls.extend:
            if steps := controls.extend:
                added += steps
                controls.extended(steps, step=1)
    finally:
        sys.setswitchinterval(before)
    assert added == asked
    assert [answer.asked.row for answer in controls.answers] == list(range(asked))
    assert {answer.status for answer in controls.answers} == {"applied"}
