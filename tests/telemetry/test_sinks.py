"""Sinks and their dispatch: console, JSONL, W&B, muting, and what never is recorded."""

import json
import os
import struct
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from recording import rollout

from tenyson.errors import TelemetryError, UnknownPluginError
from tenyson.telemetry.build import open_telemetry, sink_names
from tenyson.telemetry.dispatch import Telemetry
from tenyson.telemetry.events import (
    EpochEnded,
    MetricsLogged,
    Notice,
    RolloutFinished,
    RunFinished,
    RunStarted,
    json_text,
    wire,
)
from tenyson.telemetry.sinks.console import ConsoleSink
from tenyson.telemetry.sinks.jsonl import JsonlSink

EVENTS = [
    RunStarted(run_id="run-1", job_type="rl", task="echo", config={"a": 1}, output_dir="out", total_steps=2),
    MetricsLogged(run_id="run-1", phase="rl", step=1, total_steps=2, epoch=0.5, values={"loss": 0.5, "odd": 7.0}),
    RolloutFinished(
        run_id="run-1", phase="rl", training=True, step=1, sample_id="s", group="g", prompt="PROMPT",
        completion="COMPLETION", reward=1.0, components={},
    ),
    EpochEnded(run_id="run-1", phase="rl", epoch=1, step=2, loss=0.25, kl=None),
    Notice(run_id="run-1", level="warning", message="the disk is nearly full"),
    RunFinished(
        run_id="run-1", status="success", result={"total_time_seconds": 2.0, "metrics": {"accuracy": 0.5}}
    ),
]  # fmt: skip


@pytest.fixture(autouse=True)
def _plain(monkeypatch):
    for name in (wire.VARIABLE, "WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_default_sinks_follow_the_configuration(make_config):
    """console and jsonl always, sql with a database, wandb with a project; a list replaces all that."""
    assert sink_names(make_config()) == ["console", "jsonl"]
    config = make_config(telemetry={"db_url": "sqlite:///x.db"}, wandb={"project": "p"})
    assert sink_names(config) == ["console", "jsonl", "sql", "wandb"]
    assert sink_names(make_config(telemetry={"sinks": ["jsonl"], "db_url": "sqlite:///x.db"})) == ["jsonl"]


def test_an_unknown_sink_is_an_error_before_anything_is_opened(make_config, tmp_path):
    """The nearest name is in the message, and no file was made."""
    with pytest.raises(UnknownPluginError, match="jsonl"):
        open_telemetry(make_config(telemetry={"sinks": ["console", "jsonk"]}), tmp_path / "run-1")
    assert not (tmp_path / "run-1").exists()


def test_the_console_speaks_to_people(make_config, tmp_path, capsys):
    """Plain lines; rollouts are not shown."""
    sink = ConsoleSink(make_config(), tmp_path)
    for event in EVENTS:
        sink.write(event)
    assert capsys.readouterr().out.splitlines() == [
        "run run-1: rl on task echo, 2 steps, in out",
        "step 1/2  loss 0.5  odd 7",
        "epoch 1 ended at step 2  loss 0.25",
        "warning: the disk is nearly full",
        "run run-1: success after 2.0 s  accuracy 0.5",
    ]


def test_the_console_speaks_to_a_controller(make_config, tmp_path, capsys, monkeypatch):
    """With TENYSON_PROGRESS=json each line is an event that `decode` reads back, and no rollout is among them."""
    monkeypatch.setenv(wire.VARIABLE, "json")
    sink = ConsoleSink(make_config(), tmp_path)
    for event in EVENTS:
        sink.write(event)
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("@tenyson {") for line in lines)
    events = [wire.decode(line) for line in lines]
    assert [event["event"] for event in events] == [
        "RunStarted", "MetricsLogged", "EpochEnded", "Notice", "RunFinished",
    ]  # fmt: skip
    assert events[0]["total_steps"] == 2
    assert "config" not in events[0]
    assert events[1]["values"] == {"loss": 0.5, "odd": 7.0}
    assert events[4]["result"]["metrics"] == {"accuracy": 0.5}


@pytest.mark.parametrize(
    "line", ["", "hello", "@tenyson", "@tenyson {}", '@tenyson {"event":"Notice","mess', "@tenyson 3"]
)
def test_ordinary_and_torn_lines_are_no_events(line):
    """A log may end anywhere."""
    assert wire.decode(line) is None


def test_an_event_behind_an_open_progress_bar_is_found():
    """A library's progress bar leaves its line open on a merged stream."""
    line = wire.encode(Notice(run_id="r", level="info", message='said @tenyson {"event": 1} to me'))
    found = wire.decode(" 10%|█   | 1/10\r" + line + "\n")
    assert found is not None
    assert found["message"] == 'said @tenyson {"event": 1} to me'


def test_json_is_strict_and_floats_come_back():
    """NaN is no JSON; as a string `float()` reads it."""
    text = json_text.dumps(
        {"a": float("nan"), "b": [float("-inf")], "c": 1.5, "d": Path("x"), "e": "\ud800\n"}
    )
    value = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert float(value["a"]) != float(value["a"])
    assert float(value["b"][0]) == float("-inf")
    assert (value["c"], value["d"], value["e"]) == (1.5, "x", "\ud800\n")
    assert "\n" not in text


def test_jsonl_holds_every_event(make_config, tmp_path):
    """One line an event, rollouts too, readable while the run goes on."""
    sink = JsonlSink(make_config(), tmp_path)
    for event in EVENTS:
        sink.write(event)
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == [type(event).__name__ for event in EVENTS]
    assert lines[2]["completion"] == "COMPLETION"
    assert {line["v"] for line in lines} == {2}
    sink.close()


def test_a_resumed_run_goes_on_in_the_same_file(make_config, tmp_path):
    """Half a line, left by a machine that went down, spoils no other."""
    (tmp_path / "events.jsonl").write_text('{"event":"MetricsLo')
    sink = JsonlSink(make_config(), tmp_path)
    sink.write(EVENTS[0])
    sink.close()
    torn, whole = (tmp_path / "events.jsonl").read_text().splitlines()
    assert torn == '{"event":"MetricsLo'
    assert json.loads(whole)["event"] == "RunStarted"


def test_lines_of_several_threads_do_not_mix(make_config, tmp_path):
    """The poller and the trainer write at once."""
    sink = JsonlSink(make_config(), tmp_path)
    notice = Notice(run_id="r", level="info", message="x" * 5000)
    threads = [threading.Thread(target=lambda: [sink.write(notice) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = (tmp_path / "events.jsonl").read_text().splitlines()
    assert len(lines) == 800
    assert all(json.loads(line)["message"] == "x" * 5000 for line in lines)


def test_a_full_disk_mutes_jsonl_and_nothing_else(make_config, tmp_path, capfd):
    """/dev/full refuses every write, as a full disk does."""
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    telemetry = open_telemetry(make_config(), tmp_path)
    for event in EVENTS:
        telemetry.emit(event)
    telemetry.close()
    assert list(telemetry.muted) == ["jsonl"]
    out, err = capfd.readouterr()
    assert "accuracy 0.5" in out
    assert err.count("warning: telemetry sink jsonl is off") == 1


def test_a_sink_that_cannot_start_stops_the_run_before_it_starts(make_config, tmp_path):
    """A run folder that cannot be made is the user's to mend."""
    (tmp_path / "file").write_text("")
    with pytest.raises(TelemetryError, match="cannot write events"):
        open_telemetry(make_config(), tmp_path / "file" / "run-1")


def test_a_failing_redaction_records_nothing(capfd):
    """Better no record than a leaked secret, and the run goes on."""

    class Kept(list):
        name = "kept"
        inline = True
        write = list.append

    def broken(event):
        raise RuntimeError("broken")

    kept = Kept()
    telemetry = Telemetry([kept], redact=broken)
    telemetry.emit(EVENTS[0])
    telemetry.emit(EVENTS[0], EVENTS[2])
    assert kept == []
    assert telemetry.lost == {"redaction": 3}
    assert capfd.readouterr().err.count("warning: an event was not recorded") == 1


def test_odd_keys_of_an_environment_become_text_and_one_odd_event_keeps_no_other_from_being_recorded(capfd):
    """A tuple, a number of numpy's; only what has no text at all is left out, and counted."""

    class Kept(list):
        name = "kept"
        inline = True

        def write_lines(self, lines):
            self.extend(json.loads(line) for line in bytes(lines).split(b"\n"))

        def close(self):
            pass

    class Nameless:
        def __str__(self):
            raise RuntimeError("no text")

    kept = Kept()
    telemetry = Telemetry([kept], run_id="run-1")
    telemetry.emit(*[rollout(info={(0, 1): {np.int64(3): "x", 2: 1.5, "y": float("nan")}}) for _ in range(8)])
    assert [one["info"] for one in kept] == [{"(0, 1)": {"3": "x", "2": 1.5, "y": "NaN"}}] * 8
    telemetry.emit(*[rollout(info={"odd": Nameless()} if number == 3 else {}) for number in range(8)])
    telemetry.emit(rollout())
    assert len(kept) == 8 + 7 + 1
    assert telemetry.lost == {"redaction": 1}
    telemetry.close()
    assert (kept[-1]["event"], kept[-1]["events"]) == ("EventsLost", 1)
    assert "no text" in kept[-1]["reason"]
    assert telemetry.muted == {}


OFFLINE_RUN = """
import sys
from pathlib import Path
from tenyson.config.schema import Config
from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.events import MetricsLogged, Notice, RolloutFinished, RunFinished, RunStarted
folder = Path(sys.argv[1])
config = Config(
    model={"name": "unused"}, run={"id": "run-1"}, wandb={"project": "p", "mode": "offline"},
    telemetry={"db_url": f"sqlite:///{folder}/t.db"},
)
telemetry = open_telemetry(config, folder / "run-1")
canary = sys.stdin.read()
telemetry.emit(
    RunStarted(
        run_id="run-1", job_type="rl", task="echo", config=config.model_dump(mode="json") | {"odd": [{"k": canary}]},
        output_dir="o",
    )
)
for step in (1, 2, 1, 2, 3):
    telemetry.emit(MetricsLogged(run_id="run-1", phase="rl", step=step, values={"loss": 1.0 / step}))
telemetry.emit(Notice(run_id="run-1", level="error", message="login with " + canary + " failed"))
telemetry.emit(
    RolloutFinished(
        run_id="run-1", phase="rl", training=True, step=1, sample_id="s", group="g", prompt="p",
        completion="the model says " + canary, reward=1.0, components={}, info={"tool": {"env": canary}},
    )
)
result = {"metrics": {"accuracy": 0.5}, "failure_reason": canary}
telemetry.emit(RunFinished(run_id="run-1", status="success", result=result))
telemetry.close()
assert telemetry.muted == {}, telemetry.muted
print(telemetry.url("wandb"))
"""


def offline_run(tmp_path, *, canary="", **environment):
    return subprocess.run(
        [sys.executable, "-c", OFFLINE_RUN, str(tmp_path)],
        input=canary, capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith("WANDB")} | environment,
    )  # fmt: skip


@pytest.mark.slow
def test_the_value_of_a_secret_lands_nowhere(tmp_path):
    """Whoever emits it: not in the database, the JSONL file, W&B's files, on the console or in the log."""
    pytest.importorskip("wandb")
    names = ("WANDB_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD")
    canaries = {name: f"canary-{number}-" + "0123456789" * 4 for number, name in enumerate(names)}
    done = offline_run(tmp_path, canary=" ".join(canaries.values()), **canaries)
    assert done.returncode == 0, done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} >= {".db", ".jsonl", ".wandb"}
    for canary in canaries.values():
        assert canary not in done.stdout + done.stderr
        assert [path for path in files if canary.encode() in path.read_bytes()] == []
    assert "login with *** *** *** *** failed" in done.stdout


@pytest.mark.slow
def test_wandb_offline_writes_a_run_that_can_be_synced(tmp_path):
    """`wandb_url` is the file:// URL of the folder that `wandb sync` takes; steps that repeat are all kept."""
    pytest.importorskip("wandb")
    done = offline_run(tmp_path)
    assert done.returncode == 0, done.stderr
    folder = Path(urlsplit(done.stdout.splitlines()[-1]).path)
    assert folder.is_dir()
    assert folder.is_relative_to(tmp_path / "run-1")
    (record,) = folder.glob("*.wandb")
    records = read_records(record)
    history = [
        {"/".join(item.nested_key) or item.key: item.value_json for item in found.history.item}
        for found in records
        if found.WhichOneof("record_type") == "history"
    ]
    assert [float(row["step"]) for row in history if "loss" in row] == [1, 2, 1, 2, 3]
    # Neither the host's name, nor the command line, nor the packages of this machine.
    assert [found.run.host for found in records if found.WhichOneof("record_type") == "run"] == ["-"]
    assert not list(folder.rglob("wandb-metadata.json"))
    assert not list(folder.rglob("requirements.txt"))


def read_records(path):
    """W&B's record file: protobuf messages in LevelDB's log format, blocks of 32 KiB."""
    from wandb.proto import wandb_internal_pb2

    data, records, message, place = path.read_bytes(), [], b"", 7
    while place < len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        message += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            records.append(wandb_internal_pb2.Record.FromString(message))
            message = b""
    return records


@pytest.mark.slow
def test_wandb_mode_of_the_environment_goes_before_the_configuration(tmp_path):
    """WANDB_MODE=disabled writes nothing and has no URL."""
    pytest.importorskip("wandb")
    done = offline_run(tmp_path, WANDB_MODE="disabled")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "None"
    assert list(tmp_path.rglob("*.wandb")) == []


@pytest.mark.slow
def test_wandb_without_a_key_is_an_error_before_the_start(tmp_path):
    """It names the variable, and does not wait for somebody to type a key."""
    pytest.importorskip("wandb")
    code = OFFLINE_RUN.replace('"offline"', '"online"')
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        input="", capture_output=True, text=True, timeout=120, cwd=tmp_path, env=environment | {"HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert "TelemetryError" in done.stderr
    assert "WANDB_API_KEY" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_missing_wandb_names_the_pip_line(tmp_path):
    """Run where wandb cannot be imported."""
    code = "import sys; sys.modules['wandb'] = None\n" + OFFLINE_RUN
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], input="", capture_output=True, text=True, cwd=tmp_path
    )
    assert "pip install 'tenyson-core[wandb]'" in done.stderr
