"""A sink of somebody else's, installed by entry point, works as core's own do; and it cannot harm a job."""

import subprocess
import sys
import time

import pytest
from recording import metrics, rows

from tenyson.telemetry import background
from tenyson.telemetry.dispatch import Telemetry
from tenyson.telemetry.sinks.adapted import adapted, records_every_rank
from tenyson.telemetry.sinks.sink import BaseSink

PLUGIN = """
from tenyson.plugins import SinkEntry, hookimpl

@hookimpl
def tenyson_sinks():
    return [SinkEntry(name="acme", summary="Lines in a file", load="acme_sink:AcmeSink", settings="acme_sink:Settings")]
"""
SINK = """
from pydantic import BaseModel, ConfigDict

class Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    break_at: int = -1

class AcmeSink:
    name = "acme"

    def __init__(self, config, run_dir):
        run_dir.mkdir(parents=True, exist_ok=True)
        self.file = (run_dir / "acme.txt").open("a")
        self.settings = Settings(**config.telemetry.settings.get("acme", {}))

    def write(self, event):
        if getattr(event, "step", None) == self.settings.break_at:
            raise RuntimeError("acme is closed")
        self.file.write(type(event).__name__ + "\\n")

    def close(self):
        self.file.close()
"""
JOB = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from recording import UID, finished, metrics, rollout, started
from tenyson.config.schema import Config
from tenyson.telemetry.build import open_telemetry
folder = Path(sys.argv[1])
config = Config(
    model={{"name": "m"}}, run={{"id": "run-1"}},
    telemetry={{"db_url": f"sqlite:///{{folder}}/t.db", "sinks": ["sql", "acme"], "settings": {{"acme": {{"break_at": {at}}}}}}},
)
telemetry = open_telemetry(config, folder / "run-1", attempt_uid=UID, rank={rank})
telemetry.emit(started())
for step in range(5):
    telemetry.emit(metrics(step), rollout(step=step))
    __import__("time").sleep(0.05)
telemetry.emit(finished())
telemetry.close()
print(telemetry.muted, telemetry.lost)
"""


@pytest.fixture
def job(site_folder, tmp_path):
    """Runs a job's telemetry in a process that sees the plugin."""

    def run(at=-1, rank=0):
        code = JOB.format(here=str(site_folder.here), at=at, rank=rank)
        return subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60,
            env=site_folder.environ, check=True,
        )  # fmt: skip

    return run


@pytest.fixture
def site_folder(tmp_path):
    """A distribution as pip leaves it."""
    import os
    from pathlib import Path
    from types import SimpleNamespace

    folder = tmp_path / "site"
    info = folder / "acme_sink-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "acme_plugin.py").write_text(PLUGIN)
    (folder / "acme_sink.py").write_text(SINK)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-sink\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tenyson]\nacme = acme_plugin\n")
    return SimpleNamespace(
        here=Path(__file__).parent, environ=os.environ | {"PYTHONPATH": str(folder)}, folder=folder
    )


@pytest.mark.slow
def test_it_gets_every_event_in_order(job, tmp_path):
    """Chosen in `telemetry.sinks` by its name."""
    assert job().stdout.strip() == "{} {}"
    lines = (tmp_path / "run-1" / "acme.txt").read_text().split()
    assert lines == ["RunStarted", *["MetricsLogged", "RolloutFinished"] * 5, "RunFinished"]


@pytest.mark.slow
def test_its_settings_are_checked_by_its_own_model(site_folder, tmp_path):
    """`telemetry.settings.acme`, with the nearest valid key."""
    (tmp_path / "c.yaml").write_text(
        "model: {name: m}\ntelemetry: {sinks: [acme], settings: {acme: {brake_at: 3}}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "tenyson", "config", "check", "c.yaml", "--job", "sft"],
        capture_output=True, text=True, cwd=tmp_path, env=site_folder.environ,
    )  # fmt: skip
    assert done.returncode == 2
    assert "break_at" in done.stdout + done.stderr


@pytest.mark.slow
def test_one_that_fails_is_muted_with_one_warning_and_counted(job, tmp_path):
    """The job goes on, the other sinks get everything, and the record says what is missing."""
    done = job(at=2)
    assert (
        done.stderr.count("warning: telemetry sink acme is off from here on: RuntimeError: acme is closed")
        == 1
    )
    assert "'acme': 'RuntimeError: acme is closed'" in done.stdout
    url = f"sqlite:///{tmp_path}/t.db"
    assert rows(url, "SELECT count(*) AS n FROM rollouts") == [{"n": 5}]
    (lost,) = rows(url, "SELECT sink, reason, events FROM losses")
    # The rollout of step 2, two more steps, and the end; perhaps what followed in its own call.
    assert (lost["sink"], lost["reason"]) == ("acme", "RuntimeError: acme is closed")
    assert 6 <= lost["events"] <= 9
    lines = (tmp_path / "run-1" / "acme.txt").read_text().split()
    assert lines == ["RunStarted", *["MetricsLogged", "RolloutFinished"] * 2]
    shown = subprocess.run(
        [sys.executable, "-m", "tenyson", "show", "run-1", "--db-url", url],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert "telemetry sink acme did not record" in shown.stdout


@pytest.mark.slow
def test_on_other_ranks_only_sinks_that_say_so_are_opened(job, tmp_path):
    """`sql` records on every rank, a sink of the default kind on rank 0."""
    assert job(rank=1).stdout.strip() == "{} {}"
    assert not (tmp_path / "run-1" / "acme.txt").exists()
    assert rows(f"sqlite:///{tmp_path}/t.db", "SELECT count(*) AS n FROM rollouts") == [{"n": 5}]


class Slow(BaseSink):
    """Never comes back from a write."""

    name = "slow"

    def __init__(self, seconds):
        self.seconds = seconds
        self.written = 0

    def write(self, event):
        time.sleep(self.seconds)
        self.written += 1

    def close(self):
        pass


def test_a_slow_sink_keeps_nobody_waiting(monkeypatch, capfd):
    """Its events wait for it, up to a limit; what is beyond is counted; the end does not wait for ever."""
    monkeypatch.setattr(background, "LIMIT", 50)
    monkeypatch.setattr(background, "CLOSE_SECONDS", 0.5)
    telemetry = Telemetry([Slow(30.0)], run_id="run-1")
    begun = time.monotonic()
    for step in range(200):
        telemetry.emit(metrics(step))
    assert time.monotonic() - begun < 5.0
    assert 140 <= telemetry.lost["slow"] <= 150
    telemetry.close()
    assert time.monotonic() - begun < 15.0
    assert "it took no more events" in telemetry.muted["slow"]
    assert capfd.readouterr().err.count("warning:") == 1


def test_events_for_a_slow_sink_keep_their_order():
    """One thread a sink."""
    seen = []

    class Keeps(Slow):
        def write(self, event):
            seen.append(event.step)

    telemetry = Telemetry([Keeps(0)], run_id="run-1")
    for step in range(1000):
        telemetry.emit(metrics(step))
    telemetry.close()
    assert seen == list(range(1000))


def test_a_sink_that_derives_from_nothing_has_the_defaults():
    """Three names are required of it: name, write, close."""

    class Alone:
        name = "alone"

        def __init__(self):
            self.kept = []

        def write(self, event):
            self.kept.append(event)

        def close(self):
            self.kept.append("closed")

    own = Alone()
    sink = adapted(own)
    assert (sink.inline, sink.every_rank, sink.write_lines) == (False, False, None)
    assert (sink.url, sink.lost, sink.trouble) == (None, 0, None)
    sink.joins("0" * 32, 0)
    assert adapted(sink) is sink
    telemetry = Telemetry([own], run_id="run-1")
    telemetry.emit(metrics(1))
    telemetry.close()
    assert [getattr(one, "step", one) for one in own.kept] == [1, "closed"]
    assert telemetry.url("alone") is None


def test_what_a_sink_has_that_derives_from_nothing_is_used():
    """As if it had declared it."""

    class Declares:
        name = "declares"
        inline = every_rank = True
        lost, trouble, url = 2, "no room", "https://example.org/run"

        def __init__(self):
            self.kept = []

        def joins(self, attempt_uid, rank):
            self.kept.append((attempt_uid, rank))

        def write(self, event):
            raise AssertionError("it takes lines")

        def write_lines(self, lines):
            self.kept.append(bytes(lines).count(b"MetricsLogged"))

        def close(self):
            pass

    own = Declares()
    adapted(own).joins("0" * 32, 1)
    telemetry = Telemetry([own], run_id="run-1")
    telemetry.emit(metrics(1), metrics(2))
    assert own.kept == [("0" * 32, 1), 2]
    assert (telemetry.lost, telemetry.url("declares")) == ({"declares": 2}, "https://example.org/run")
    assert records_every_rank(Declares)
