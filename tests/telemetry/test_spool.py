"""The spool: what a caller has handed over is on disk, whatever happens to the process, the disk or the file."""

import os
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from recording import lines, metrics, rollout, rows, started, writer

from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.spool import writer as spool_writer
from tenyson.telemetry.spool.spool import find_spools, read_records


def payloads(folder, position=0):
    """All batches of the only spool, across its segments."""
    (found,) = find_spools(folder)
    return [
        payload
        for segment in found.segments
        for payload in [one for one, _ in read_records(found.path(segment), 0)][1:]
    ]


def test_a_batch_is_one_write_and_is_there_at_once(tmp_path, monkeypatch):
    """One call of the operating system a batch: a kill between two calls cannot cut it."""
    spooled = writer(tmp_path)
    calls = []
    real = os.writev
    monkeypatch.setattr(os, "writev", lambda *arguments: calls.append(1) or real(*arguments))
    batch = lines(*(rollout(sample_id=str(number)) for number in range(128)))
    spooled.append(batch)
    assert calls == [1]
    assert payloads(tmp_path) == [batch]


@pytest.mark.slow
def test_a_torn_end_hides_nothing_before_it(tmp_path):
    """The file cut at every byte of its last record: what is whole is read, and no more."""
    spooled = writer(tmp_path)
    first, second = lines(metrics(1)), lines(metrics(2), rollout())
    spooled.append(first)
    path = next((tmp_path / "spool").iterdir())
    whole = path.stat().st_size
    spooled.append(second)
    data = path.read_bytes()
    for end in range(whole, len(data)):
        path.write_bytes(data[:end])
        assert payloads(tmp_path) == [first], end
    path.write_bytes(data)
    assert payloads(tmp_path) == [first, second]


def test_damage_is_never_read_as_events(tmp_path):
    """A flipped bit anywhere in a record: the checksum refuses it, and what follows is not guessed at."""
    spooled = writer(tmp_path)
    batches = [lines(metrics(step)) for step in range(3)]
    for batch in batches:
        spooled.append(batch)
    path = next((tmp_path / "spool").iterdir())
    data = path.read_bytes()
    start = data.index(batches[1]) - 8
    for place in range(start, start + 8 + len(batches[1]), 7):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :])
        assert payloads(tmp_path) == batches[:1], place


def test_segments_follow_each_other_and_stored_ones_are_deleted(tmp_path):
    """The disk holds what the database does not have yet."""
    spooled = writer(tmp_path, segment_bytes=1000)
    batches = [lines(metrics(step)) for step in range(40)]
    for batch in batches:
        spooled.append(batch)
    assert len(list((tmp_path / "spool").iterdir())) > 3
    assert payloads(tmp_path) == batches
    assert spooled.header.segment == 0  # where a shipper that comes late begins
    spooled.mark_stored(3, 0)
    assert spooled.header.segment == 3
    names = sorted(path.name for path in (tmp_path / "spool").iterdir())
    assert names[0].endswith("-00003.spool")
    spooled.close()
    spooled.delete()
    assert not (tmp_path / "spool").exists()


WRITE = """
import sys, time
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from recording import lines, metrics, writer
spooled = writer(Path(sys.argv[1]))
spooled.append(lines(metrics(1)))
print("ready", flush=True)
time.sleep(60)
"""


def test_a_spool_is_alive_for_as_long_as_its_writer(tmp_path):
    """The lock goes with the process, also by SIGKILL."""
    code = [sys.executable, "-c", WRITE, str(tmp_path), str(Path(__file__).parent)]
    process = subprocess.Popen(code, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    (found,) = find_spools(tmp_path)
    assert found.is_alive()
    process.kill()
    process.wait()
    assert not found.is_alive()
    (payload,) = payloads(tmp_path)
    assert b'"MetricsLogged"' in payload


def test_a_forked_process_goes_on_in_a_spool_of_its_own(make_config, tmp_path, sqlite_url):
    """Parent and child write at once; all of both is stored once, under one attempt."""
    telemetry = open_telemetry(
        make_config(telemetry={"db_url": sqlite_url, "sinks": ["sql"]}),
        tmp_path / "run-1",
        attempt_uid="a" * 32,
    )
    telemetry.emit(started())
    child = os.fork()
    for step in range(200):
        telemetry.emit(metrics(step, who=float(child == 0)))
    if child == 0:
        telemetry.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    telemetry.close()
    found = rows(sqlite_url, "SELECT value, count(*) AS n FROM metrics GROUP BY value ORDER BY value")
    assert found == [{"value": 0.0, "n": 200}, {"value": 1.0, "n": 200}]
    assert rows(sqlite_url, "SELECT count(*) AS n FROM attempts") == [{"n": 1}]
    assert rows(sqlite_url, "SELECT count(*) AS n FROM spools") == [{"n": 2}]


def test_several_threads_write_whole_batches(tmp_path):
    """The poller and the trainer write at once."""
    spooled = writer(tmp_path)
    batch = lines(*(rollout(sample_id=str(number)) for number in range(20)))
    threads = [threading.Thread(target=lambda: [spooled.append(batch) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert payloads(tmp_path) == [batch] * 200


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_is_survived_with_one_warning(small_disk, make_config, sqlite_url, capfd):
    """While it is full, events wait in memory; once there is room again, all of them are stored."""
    telemetry = open_telemetry(
        make_config(telemetry={"db_url": sqlite_url, "sinks": ["sql"]}),
        small_disk / "run-1",
        attempt_uid="a" * 32,
    )
    telemetry.emit(started())
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="space"):
        filler.write_bytes(b"x" * 400_000)
    for step in range(300):
        telemetry.emit(metrics(step), rollout(step=step, group=f"{step}/s1", completion="x" * 900))
    assert telemetry.muted == {}
    filler.unlink()
    telemetry.emit(metrics(300))
    telemetry.close()
    assert telemetry.lost == {}
    assert rows(sqlite_url, "SELECT count(*) AS n FROM metric_records") == [{"n": 301}]
    assert rows(sqlite_url, "SELECT count(*) AS n FROM rollouts") == [{"n": 300}]
    assert capfd.readouterr().err.count("warning:") == 1


def test_a_disk_that_stays_full_drops_rollouts_first_and_counts_them(tmp_path, monkeypatch, capfd):
    """Memory is bounded; metrics are kept longest. RLIMIT_FSIZE refuses writes as a full disk does."""
    monkeypatch.setattr(spool_writer, "PENDING_BYTES", 20_000)
    spooled = writer(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = next((tmp_path / "spool").iterdir()).stat().st_size
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 100, before[1]))
    try:
        for step in range(100):
            spooled.append(lines(metrics(step), rollout(completion="x" * 900)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, old)
    spooled.append(lines(metrics(100)))
    spooled.close()
    kept = b"\n".join(payloads(tmp_path))
    assert kept.count(b'"MetricsLogged"') == 101
    assert kept.count(b'"RolloutFinished"') + spooled.lost == 100
    assert spooled.lost > 50
    assert capfd.readouterr().err.count("warning:") == 1


def test_a_spool_at_its_limit_thins_rollouts_and_keeps_all_metrics(tmp_path, capfd):
    """From three quarters on, one rollout in eight; above the limit none. All that is left out is counted."""
    spooled = writer(tmp_path, cap_bytes=100_000)
    for step in range(400):
        spooled.append(lines(metrics(step), rollout(step=step, completion="x" * 500)))
    kept = b"\n".join(payloads(tmp_path))
    assert kept.count(b'"MetricsLogged"') == 400
    stored = kept.count(b'"RolloutFinished"')
    assert stored + spooled.lost == 400
    assert 80 < stored < 300
    assert "reached its limit" in capfd.readouterr().err


def test_what_was_left_out_is_in_the_record(make_config, tmp_path, sqlite_url):
    """The table `losses` and the job's own count say how much is missing, and why."""
    config = make_config(telemetry={"db_url": sqlite_url, "sinks": ["sql"]})
    telemetry = open_telemetry(config, tmp_path / "run-1", attempt_uid="a" * 32)
    sink = telemetry._built["sql"]
    sink._writer._cap_bytes = 1
    sink._writer._look_around()
    telemetry.emit(started(), rollout(), metrics(1))
    telemetry.close()
    (lost,) = rows(sqlite_url, "SELECT sink, events, reason FROM losses")
    assert (lost["sink"], lost["events"]) == ("sql", 1)
    assert rows(sqlite_url, "SELECT count(*) AS n FROM metric_records") == [{"n": 1}]


def test_nothing_that_goes_wrong_leaves_the_writer(tmp_path, capfd):
    """A file descriptor that was closed under it: the caller hears nothing, the count does."""
    spooled = writer(tmp_path)
    os.close(spooled._file)
    spooled.append(lines(metrics(1)))
    assert "warning" in capfd.readouterr().err
    spooled._file = os.open(os.devnull, os.O_WRONLY)
