"""What a machine, or a job's own code, can send: names, numbers, results, lines of a log, spools."""

import json
import sqlite3
from pathlib import Path

import pytest
from tests.fakes.hostile_job import CODE

from tenyson.cloud.local.backend import LocalManager
from tenyson.cloud.remote.mirror import Mirror, Seen
from tenyson.cloud.remote.outputs import exit_of, fault, files_of, lost_of, process_of
from tenyson.cloud.remote.recall import recalled
from tenyson.cloud.remote.record import Record
from tenyson.cloud.watch.follow import PlainFollower
from tenyson.errors import BackendError, TenysonError
from tenyson.jobs.result import JobResult
from tenyson.telemetry.events.wire import decode
from tenyson.telemetry.relay.oddities import Oddities


@pytest.mark.parametrize(
    "name",
    [
        "", "/etc/passwd", "../x", "adapter/../../x", "adapter//x", "./x", ".controller/machine.json", "adapter/.hidden",
        "machine.json", "MACHINE.JSON", "process.json", "config.yaml", "cancel", "control", "relay.json", "sync.json",
        "earlier/1/machine.json", "unlisted/x", "new\nline", "bell\x07", "right\u202eleft", "back\\slash", "lone\udcff",
        "x" * 300, "/".join("a" * 30), "adapter/x.tmp",
    ],
)  # fmt: skip
def test_a_name_that_leads_elsewhere_or_is_ours_is_not_taken(tmp_path, name):
    """Whatever asks for it: the list, or the place where files are made."""
    odd = Oddities()
    assert fault(name) is not None
    assert files_of({name: [1, 1], "results.json": [2, 2]}, odd) == {"results.json": [2, 2]}
    with pytest.raises(BackendError):
        Mirror(tmp_path).take(name, 0, 1, 1, None)
    assert list(tmp_path.iterdir()) == []


def test_names_of_outputs_keep_their_place_and_other_harmless_ones_go_where_nothing_of_ours_looks(tmp_path):
    """A list of names that outputs have; what is not on it is not lost."""
    import io

    odd = Oddities()
    names = [
        "adapter/model.safetensors",
        "checkpoints/step-3/x.pt",
        "table.csv",
        "identity.json",
        "own/deep/file.bin",
    ]
    files = files_of({name: [1, 1] for name in names}, odd)
    assert list(files) == names
    mirror = Mirror(tmp_path)
    for name in files:
        mirror.take(name, 0, 1, 1, io.BytesIO(b"x"))
    mirror.settle(Seen("running", None, files))
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert found - {".controller/sync.json"} == {
        *names[:3],
        "unlisted/identity.json",
        "unlisted/own/deep/file.bin",
    }
    assert len(odd.news()) == 1


@pytest.mark.parametrize(
    "facts", [[-1, 0], [1], "12", [1, 2, 3], [True, 1], [1 << 60, 1], [1.5, 1], [1, "now"], None, {"size": 1}]
)
def test_a_size_or_time_that_is_none_costs_that_file_alone(facts):
    """And names that collide: case, a file that is a folder too, the second way to write an accent."""
    odd = Oddities()
    listed = {"log.txt": facts, "adapter/a": [1, 1], "adapter/A": [1, 1], "adapter/a/b": [1, 1],
              "model/\u00e9": [1, 1], "model/e\u0301": [1, 1]}  # fmt: skip
    assert sorted(files_of(listed, odd)) == ["adapter/a", "model/\u00e9"]
    assert odd.counts == {
        "a size or time that is none": 1, "a name that another file has, but for its letters' case": 3,
    }  # fmt: skip


def test_more_files_than_any_job_has_are_counted_and_left_there(monkeypatch):
    """Told once, and again when there are ten times as many."""
    monkeypatch.setattr("tenyson.cloud.remote.outputs.MOST_FILES", 3)
    odd = Oddities()
    assert len(files_of({f"adapter/{n}": [1, 1] for n in range(30)}, odd)) == 3
    assert odd.news() == ["more than 3 files: 27 ('adapter/3')"]
    assert odd.news() == []


def test_a_file_that_is_larger_than_the_disk_here_is_refused_before_a_byte_of_it(tmp_path):
    """A hole of a petabyte costs a machine nothing."""
    with pytest.raises(BackendError, match="disk here has"):
        Mirror(tmp_path).take("adapter/x", 0, 1 << 50, 1, None)


def test_what_a_machine_says_of_its_job_is_numbers_and_words_of_a_list():
    """Exit statuses, processes, reasons."""
    odd = Oddities()
    assert exit_of({"exit_code": "0", "oom_kills": []}, odd) == {"exit_code": None, "oom_kills": None}
    assert exit_of([0], odd) == {"exit_code": None, "oom_kills": None}
    assert exit_of({"exit_code": 1, "more": "x"}, odd) == {"exit_code": 1, "oom_kills": None}
    assert process_of({"supervisor": {"pid": -1}, "job": {"pid": "7"}, "folder": 3}) == {}
    assert lost_of({"reason": "rm -rf", "detail": "\x1b[2Jx", "preempted": "yes"}) == {
        "reason": "lost", "detail": "x", "preempted": False,
    }  # fmt: skip


def test_an_attempt_that_is_recalled_from_its_machine_takes_no_path_and_no_database_from_it(tmp_path):
    """Attach from another laptop: where files go, and who takes the telemetry, is said there."""
    config = {
        "run": {"output_dir": "/etc"}, "model": {"name": "/home/somebody/.ssh"}, "telemetry": {"db_url": "sqlite:////etc/x.db"},
    }  # fmt: skip
    spec = {"run_id": "job", "job_type": "sft", "task": "/home/somebody/.ssh/id", "config": config}
    told = recalled(
        {"token": "t", "spec": spec, "cwd": "/", "settings": {"ssh_proxy": ["x"]}}, "job", tmp_path
    )
    assert set(told) == {"token", "spec", "cwd", "job"}
    text = json.dumps(told)
    assert "/etc" not in text
    assert ".ssh" not in text
    assert "ssh_proxy" not in text
    for odd in (
        None,
        [],
        {},
        {"token": "t", "spec": spec | {"run_id": "other"}},
        {"token": "a b", "spec": spec},
    ):
        assert recalled(odd, "job", tmp_path) is None


@pytest.mark.parametrize(
    "line",
    [
        '{"event":"MetricsLogged","step":"3","values":{}}',
        '{"event":"MetricsLogged","step":3,"values":{"loss":"low"}}',
        '{"event":"MetricsLogged","step":3,"values":7}',
        '{"event":"MetricsLogged","step":-1,"values":{}}',
        '{"event":"RunStarted","total_steps":"many"}',
        '{"event":"Notice","level":"loud","message":"x"}',
        '{"event":"Notice","level":"info","message":null}',
        '{"event":7}',
        '{"event":' + "[" * 10_000,
        '{"event":"MetricsLogged","step":' + "9" * 5000 + "}",
    ],
)
def test_a_line_that_only_looks_like_an_event_is_none_and_shows_nothing(line, capsys):
    """Anybody's code may print it."""
    assert decode("@tenyson " + line) is None
    PlainFollower().line("@tenyson " + line)
    assert capsys.readouterr().err == ""


def test_no_text_of_an_event_moves_the_cursor_of_a_terminal():
    """JSON hides escape sequences from whoever cleans the line."""
    line = "@tenyson " + json.dumps({"event": "Notice", "level": "info", "message": "a\x1b[2Jb\x07\ud800"})
    assert decode(line)["message"] == "ab?"


def test_a_job_that_prints_odd_events_is_followed_to_its_end_and_they_are_counted(job, tmp_path, capfd):
    """On this machine as well: the controller continues, and no such line is in a failure's last lines."""
    runner = (__import__("sys").executable, "-c", CODE)
    asked = job()
    spec = asked.spec()
    spec.config["task"]["args"] = {"canary": str(tmp_path / "canary"), "backend": "local", "seconds": 0}

    class Hostile:
        def spec(self):
            return spec

    result = LocalManager(tmp_path, runner=runner).run(Hostile())
    assert result.status == "success", result.failure_reason
    assert result.local_output_dir == str(tmp_path / "job")
    assert result.instance_id is None
    assert "5 lines of the log looked like events of Tenyson and were left out" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"total_time_seconds": "long"}, "total_time_seconds"),
        ({"total_time_seconds": -1}, "total_time_seconds"),
        ({"metrics": [1]}, "metrics"),
        ({"metrics": {"x": "high"}}, "metrics.x"),
        ({"metrics": {"x": {"y": 1}}}, "metrics.x"),
        ({"metrics": {"x": 10**400}}, "metrics.x"),
        ({"status": "great"}, "status"),
        ({"failure_reason": ["x"]}, "failure_reason"),
        ({"failure_reason": "x" * 200_000}, "failure_reason"),
        ({"spot_interruption": "yes"}, "spot_interruption"),
        ({"hf_repo_id": "../../home/somebody/.ssh"}, "hf_repo_id"),
        ({"hf_repo_id": "/etc"}, "hf_repo_id"),
    ],
)
def test_a_result_of_wrong_types_is_refused_with_the_field_that_is_wrong(tmp_path, change, names):
    """It is read by controllers, reports and later steps."""
    path = tmp_path / "job_result.json"
    path.write_text(json.dumps({"run_id": "job", "status": "success", "total_time_seconds": 1.0} | change))
    with pytest.raises(TenysonError, match=names):
        JobResult.load(path)


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "7", '"x"', "{" + '"a":{' * 50_000, " " * (17 << 20)])
def test_a_result_that_is_huge_or_deep_is_one_line_of_an_error(tmp_path, text):
    """Never a RecursionError."""
    path = tmp_path / "job_result.json"
    path.write_text(text)
    with pytest.raises(TenysonError, match="not a job result"):
        JobResult.load(path)


def test_our_record_is_in_a_folder_of_its_own_and_moves_aside_with_its_attempt(tmp_path):
    """A file of its name among the outputs is not read."""
    from tenyson.cloud.local.archive import archive_attempt

    record = Record("aws", "t", {"run_id": "job"}, {}, "/", 1.0)
    (tmp_path / "machine.json").write_text(json.dumps({"backend": "evil"}))
    assert Record.load(tmp_path) is None
    record.save(tmp_path)
    assert Record.load(tmp_path) == record
    assert archive_attempt(tmp_path, resumed=True) == tmp_path / "earlier" / "1"
    assert Record.load(tmp_path) is None
    assert Record.load(tmp_path / "earlier" / "1") == record


def spool(folder, header, lines, uid="a" * 32):
    from tenyson.telemetry.spool.spool import MAGIC, record, segment_path

    folder.mkdir(parents=True, exist_ok=True)
    payloads = [json.dumps(header).encode(), *lines]
    path = segment_path(folder, uid, 0)
    path.write_bytes(MAGIC + b"".join(map(record, payloads)))
    return path


HEADER = {"uid": "a" * 32, "run_id": "job", "attempt_uid": "b" * 32, "rank": 0, "segment": 0, "began": 1.0}


def test_odd_records_of_a_spool_are_counted_and_the_others_are_stored(tmp_path):
    """Text for numbers, other runs, lists, deep and torn JSON: the database gets what is sound, and its readers stay well."""
    from tenyson.telemetry.relay.relay import Relay

    url = f"sqlite:///{tmp_path / 'telemetry.db'}"
    good = {"event": "MetricsLogged", "v": 2, "run_id": "job", "time": 1.0, "phase": "sft", "step": 1,
            "total_steps": 9, "epoch": 0.5, "values": {"loss": 1.0}}  # fmt: skip
    odd = [
        good | {"step": "three"}, good | {"values": 7}, good | {"run_id": "other"}, good | {"phase": []},
        good | {"time": "now"}, good | {"step": 2**70}, [1], "x", 7, None,
        {"event": "Notice", "run_id": "other", "time": 1.0, "level": "error", "message": "I am another run"},
        {"event": "RunStarted", "run_id": "job", "time": 1.0, "job_type": "sft", "task": "t", "output_dir": "o",
         "config": {}, "provenance": {"host": {"a": 1}}},
        {"event": "RunFinished", "run_id": "job", "time": 1.0, "status": {}, "result": []},
    ]  # fmt: skip
    lines = [json.dumps(one).encode() for one in (good, *odd, good | {"step": 2})]
    spool(tmp_path / "spool", HEADER, [*lines, b"[" * 3000, b"{torn"])
    relay = Relay({"telemetry": {"db_url": url, "sinks": ["sql"]}}, tmp_path, "job")
    relay.carry()
    assert relay.trouble is None
    news = relay.news()
    assert news
    assert all(line.startswith("an event that is none") for line in news)
    assert relay.finish()
    with sqlite3.connect(tmp_path / "telemetry.db") as database:
        assert database.execute("SELECT step FROM metric_records ORDER BY step").fetchall() == [(1,), (2,)]
        assert database.execute("SELECT count(*) FROM notices").fetchone() == (0,)
        assert database.execute("SELECT DISTINCT run_id FROM runs").fetchall() == [("job",)]


@pytest.mark.parametrize(
    "change",
    [
        {"uid": "../../" + "a" * 8}, {"uid": "c" * 32}, {"run_id": "another"}, {"began": "early"}, {"rank": -1},
        {"segment": "0"}, {"run_id": 7}, {"attempt_uid": None}, {"began": 1e300}, {"more": 1},
    ],
)  # fmt: skip
def test_a_spool_whose_header_names_another_file_or_run_is_left_alone(tmp_path, change):
    """By its header its files are found, and deleted."""
    from tenyson.telemetry.relay.relay import Relay

    url = f"sqlite:///{tmp_path / 'telemetry.db'}"
    spool(tmp_path / "victim", HEADER | {"uid": "c" * 32}, [], uid="c" * 32)
    path = spool(tmp_path / "run" / "spool", HEADER | change, [])
    relay = Relay({"telemetry": {"db_url": url, "sinks": ["sql"]}}, tmp_path / "run", "job")
    relay.carry()
    assert relay.finish()
    assert path.exists()
    assert list((tmp_path / "victim").iterdir())


def test_whatever_a_job_writes_keeps_its_place():
    """The names of the job's own code, not a copy of them: a file that it gains must be on the list."""
    from tenyson.cloud.remote.outputs import listed
    from tenyson.core.run_folder import RunFolder

    folder = RunFolder(Path("run"))
    written = [folder.results, folder.stopped, folder.job_result, folder.preflight]
    assert [path.name for path in written if not listed(path.name)] == []
    assert all(
        listed(f"{path.name}/a.safetensors") for path in (folder.checkpoints, folder.adapter, folder.model)
    )
