"""`tenyson telemetry recover` beside the job that is just ending, and beside another recovery."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from recording import finished, left_behind, metrics, rows, started, writer

from tenyson.cli.main import main
from tenyson.telemetry.database.engine import open_database
from tenyson.telemetry.spool import recover as recovery
from tenyson.telemetry.spool.shipper import Shipper
from tenyson.telemetry.spool.spool import Spool, find_spools

TENYSON = Path(sys.executable).with_name("tenyson")


@pytest.fixture
def killed(tmp_path):
    """The folder of a killed run whose spool nobody has stored yet."""
    folder = tmp_path / "run-1"
    left_behind(folder, [started(), metrics(1)], [metrics(2), finished()])
    return folder


def _store_all(folder, url):
    engine = open_database(url, create=True)
    recovery.recover(engine, folder)
    engine.dispose()


def _recover(folder, url, capsys):
    status = main(["telemetry", "recover", str(folder), "--db-url", url])
    said = capsys.readouterr()
    assert status == 0, said.err
    assert "did not take everything" not in said.err
    return said.out


def test_a_spool_that_somebody_else_has_just_stored_is_no_trouble(killed, sqlite_url, monkeypatch, capsys):
    """It was seen, and gone when it was to be read: that is said, with status 0."""
    looked = Spool.is_alive

    def store_then_look(self):
        monkeypatch.setattr(Spool, "is_alive", looked)
        _store_all(killed, sqlite_url)
        return False

    monkeypatch.setattr(Spool, "is_alive", store_then_look)
    assert "another process has just stored its events" in _recover(killed, sqlite_url, capsys)
    assert rows(sqlite_url, "SELECT step FROM metrics ORDER BY step") == [{"step": 1}, {"step": 2}]
    assert rows(sqlite_url, "SELECT status FROM runs") == [{"status": "success"}]


@pytest.mark.parametrize("moment", ["before the first batch", "after the last batch"])
def test_a_spool_may_go_at_any_moment_of_its_recovery(killed, sqlite_url, monkeypatch, capsys, moment):
    """What was stored by whom is told; how the attempt ended is left to who deleted the spool."""
    ship, given_up = Shipper.ship, []

    def ship_beside_another(self, **options):
        if moment == "after the last batch":
            done = ship(self, **options)
        monkeypatch.setattr(Shipper, "ship", ship)
        _store_all(killed, sqlite_url)
        return done if moment == "after the last batch" else ship(self, **options)

    monkeypatch.setattr(Shipper, "ship", ship_beside_another)
    monkeypatch.setattr(Shipper, "give_up", lambda *_: given_up.append(1) or False)
    said = _recover(killed, sqlite_url, capsys)
    assert ("4 events stored" in said) == (moment == "after the last batch")
    assert len(given_up) == 1  # the other recovery's
    assert rows(sqlite_url, "SELECT count(*) AS n FROM metrics") == [{"n": 2}]


def test_a_writer_that_has_begun_another_segment_is_alive(tmp_path, sqlite_url, capsys):
    """Also where the segment that was seen is stored and deleted: its attempt is not marked as failed."""
    spooled = writer(tmp_path / "run-1", segment_bytes=200)
    try:
        spooled.append(b'{"event": "Notice", "run_id": "run-1", "message": "' + b"x" * 300 + b'"}')
        (seen,) = find_spools(tmp_path / "run-1")
        spooled.append(b'{"event": "Notice", "run_id": "run-1", "message": "again"}')
        for number in seen.segments:
            seen.path(number).unlink()
        assert find_spools(tmp_path / "run-1")[0].segments[0] > seen.segments[-1]
        assert seen.is_alive()
        assert "left alone" in _recover(tmp_path / "run-1", sqlite_url, capsys)
    finally:
        os.close(spooled._file)


def test_recoveries_at_the_same_time_store_each_event_once(tmp_path, sqlite_url):
    """Both end with status 0, whoever was quicker with which spool."""
    for number in range(12):
        left_behind(
            tmp_path / "outputs" / f"run-{number}",
            [started(f"run-{number}"), metrics(1, f"run-{number}"), finished(f"run-{number}")],
            run_id=f"run-{number}", attempt_uid=f"{number:032x}",
        )  # fmt: skip
    open_database(sqlite_url, create=True).dispose()
    command = [TENYSON, "telemetry", "recover", "--db-url", sqlite_url]
    both = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for one in both:
        _, said = one.communicate(timeout=60)
        assert one.returncode == 0, said
    assert rows(sqlite_url, "SELECT count(*) AS n FROM metrics") == [{"n": 12}]
    assert rows(sqlite_url, "SELECT DISTINCT status FROM runs") == [{"status": "success"}]
    assert [*tmp_path.glob("outputs/*/spool/*")] == []
