"""The schema: made at once in an empty database, migrated on request in one that holds runs, refused where it is newer."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from recording import rows
from tests.fakes.forked import tenyson

from tenyson.errors import TelemetryError
from tenyson.telemetry.database import schema
from tenyson.telemetry.database.engine import connect, open_database
from tenyson.telemetry.migrations import frozen
from tenyson.telemetry.read.store import Store

SCHEMAS = Path(__file__).parent / "schemas"
VERSIONS = Path(frozen.__file__).parent / "versions"
TENYSON = Path(sys.executable).with_name("tenyson")


def fixture_database(folder, version):
    path = folder / f"{version}.db"
    with sqlite3.connect(path) as connection:
        connection.executescript((SCHEMAS / f"{version}.sql").read_text(encoding="utf-8"))
    return f"sqlite:///{path}"


def copied_to(url, other_url):
    """The tables and rows of a fixture in another database."""
    source, target = sqlalchemy.create_engine(url), connect(other_url, create=True)
    metadata = sqlalchemy.MetaData()
    metadata.reflect(source)
    for table in metadata.tables.values():
        for column in table.columns:
            column.type = column.type.as_generic()  # SQLite's DOUBLE is no type of PostgreSQL
            column.server_default = None
    metadata.create_all(target)
    with source.connect() as reading, target.begin() as writing:
        for table in metadata.sorted_tables:
            found = [dict(row) for row in reading.execute(sqlalchemy.select(table)).mappings()]
            if found:
                writing.execute(sqlalchemy.insert(table), found)
    source.dispose()
    target.dispose()
    return other_url


@pytest.fixture(params=["sqlite", "postgres"])
def before_versions(request, tmp_path):
    """A database as Tenyson 0.1 left it, on both kinds."""
    url = fixture_database(tmp_path, "0001")
    if request.param == "sqlite":
        return url
    return copied_to(url, request.getfixturevalue("postgres_url"))


def shape(url):
    """Columns of every table and view, and the indexes."""
    engine = connect(url, create=True)
    inspector = sqlalchemy.inspect(engine)
    found = {}
    for name in [*inspector.get_table_names(), *inspector.get_view_names()]:
        found[name] = [
            (column["name"], str(column["type"]), column["nullable"])
            for column in inspector.get_columns(name)
        ]
    for name in inspector.get_table_names():
        indexes = inspector.get_indexes(name)
        found[f"indexes of {name}"] = sorted(
            (index["name"], tuple(index["column_names"])) for index in indexes if not index.get("unique")
        )
        found[f"key of {name}"] = inspector.get_pk_constraint(name)["constrained_columns"]
    engine.dispose()
    return found


def migrated(url):
    engine = connect(url, create=True)
    versions = schema.migrate(engine)
    engine.dispose()
    return versions


@pytest.mark.slow
def test_a_migrated_database_has_the_shape_of_a_new_one(before_versions, tmp_path, request):
    """Tables, columns, indexes and views."""
    assert migrated(before_versions) == ("0001", schema.HEAD)
    new = f"sqlite:///{tmp_path}/new.db"
    if before_versions.startswith("postgresql"):
        new = request.getfixturevalue("second_postgres_url")
    open_database(new, create=True).dispose()
    assert shape(before_versions) == shape(new)


def test_everything_that_was_recorded_can_be_read_after_the_migration(before_versions):
    """Through the specification's tables, by plain SQL; each step once, as the resumed attempt left it."""
    migrated(before_versions)
    curve = rows(before_versions, "SELECT step, loss, learning_rate, attempt FROM sft_metrics ORDER BY step")
    assert [tuple(row.values()) for row in curve] == [
        (1, 2.5, 0.001, 1), (2, 2.0, 0.001, 1), (3, 1.4, 0.001, 2), (4, 0.8999999999999999, 0.001, 2),
    ]  # fmt: skip
    assert rows(before_versions, "SELECT count(*) AS n FROM metric_records WHERE phase = 'sft'") == [{"n": 5}]
    (epoch,) = rows(before_versions, "SELECT epoch, step, loss, kl FROM epoch_metrics")
    assert epoch == {"epoch": 1, "step": 2, "loss": 0.1, "kl": 0.01}
    shown = rows(
        before_versions,
        "SELECT phase, training, count(*) AS n FROM rollouts GROUP BY phase, training ORDER BY n",
    )
    assert [(row["phase"], bool(row["training"]), row["n"]) for row in shown] == [
        ("rl", False, 2), ("eval", False, 3), ("rl", True, 16),
    ]  # fmt: skip
    (one,) = rows(
        before_versions,
        "SELECT prompt, completion, reward, advantage, truncated, tokens, group_id FROM rollouts "
        "WHERE run_id = 'rl-1' AND step = 1 AND sample_id = 's1' AND completion LIKE 'answer 3%'",
    )
    assert (one["prompt"], one["completion"], one["group_id"]) == ("prompt 1", "answer 3 to 1 🎲", "1/s1")
    assert (one["reward"], one["advantage"], bool(one["truncated"]), one["tokens"]) == (1.0, 1.0, True, 8)
    texts = rows(
        before_versions, "SELECT prompt, completion FROM generations WHERE run_id = 'eval-1' ORDER BY id"
    )
    assert [row["prompt"] for row in texts] == ["prompt 0", "prompt 1", "prompt 2"]
    groups = rows(before_versions, "SELECT sum(n) AS n FROM groups")
    assert groups == [{"n": 21}]
    (asked,) = rows(before_versions, "SELECT run_id, status, requested_by FROM run_controls")
    assert asked == {"run_id": "rl-1", "status": "expired", "requested_by": "me@here"}
    with Store(before_versions) as store:
        assert {run.run_id: (run.status, run.attempt) for run in store.runs()} == {
            "sft-1": ("success", 2), "rl-1": ("success", 1), "eval-1": ("stopped", 1),
        }  # fmt: skip
        assert store.run("sft-1").config == {"model": {"name": "tiny"}, "run": {"id": "sft-1"}}
        assert store.run("sft-1").result["metrics"] == {"loss": 0.5}
        assert [row["components"] for row in store.rollouts("eval-1", limit=1)] == [
            {"right": 0.0, "none": None}
        ]


def test_a_job_goes_on_in_a_migrated_database(before_versions, make_config, tmp_path):
    """New numbers do not collide with old ones, and requests can be made."""
    from recording import UID, metrics, rollout, started

    from tenyson.telemetry.build import open_telemetry
    from tenyson.telemetry.control import request_stop

    migrated(before_versions)
    config = make_config(telemetry={"db_url": before_versions, "sinks": ["sql"]})
    telemetry = open_telemetry(config, tmp_path / "run-1", attempt_uid=UID)
    telemetry.emit(started(), metrics(1), rollout())
    telemetry.close()
    assert rows(before_versions, "SELECT count(*) AS n FROM rollouts") == [{"n": 22}]
    assert request_stop(before_versions, "run-1").recorded


@pytest.mark.slow
def test_processes_that_migrate_at_once_do_it_once(before_versions):
    """Under a lock; the others find it done."""
    command = [TENYSON, "telemetry", "migrate", "--db-url", before_versions]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = sorted(process.communicate(timeout=120)[0].strip() for process in running)
    assert [process.returncode for process in running] == [0, 0, 0, 0]
    assert said == [f"schema 0001 -> {schema.HEAD}", *[f"schema {schema.HEAD}: nothing to do"] * 3]


@pytest.mark.slow
def test_a_migration_that_breaks_off_leaves_the_old_database(before_versions, monkeypatch):
    """All of it is one transaction."""
    before = shape(before_versions)

    text = "SELECT run_id, step, loss FROM sft_metrics ORDER BY id"
    engine = connect(before_versions, create=True)
    monkeypatch.setattr(schema, "upgrade", _upgrade_and_fail)
    with pytest.raises(RuntimeError, match="the machine went down"):
        schema.migrate(engine)
    with engine.connect() as connection:
        assert len(connection.execute(sqlalchemy.text(text)).all()) == 5
    engine.dispose()
    assert shape(before_versions) == before


_real_upgrade = schema.upgrade


def _upgrade_and_fail(connection):
    _real_upgrade(connection)
    raise RuntimeError("the machine went down")


def test_reading_commands_name_the_command_that_migrates(tmp_path):
    """They change nothing by themselves."""
    url = fixture_database(tmp_path, "0001")
    for command in (["runs"], ["sql", "SELECT 1"], ["rollouts", "rl-1"]):
        done = tenyson(*command, "--db-url", url, cwd=tmp_path)
        assert done.returncode == 2, command
        assert "tenyson telemetry migrate" in done.stderr
        assert "Traceback" not in done.stderr


def test_an_older_database_without_runs_is_brought_up_to_date_in_silence(tmp_path):
    """Nobody writes to it, and nothing can be lost."""
    url = fixture_database(tmp_path, "0001")
    with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
        for table in (
            "runs",
            "results",
            "sft_metrics",
            "step_metrics",
            "epoch_metrics",
            "rollouts",
            "generations",
        ):
            connection.execute(f"DELETE FROM {table}")
    open_database(url, create=True).dispose()
    assert rows(url, "SELECT version_num FROM tenyson_schema") == [{"version_num": schema.HEAD}]


def test_a_newer_schema_is_refused(tmp_path):
    """Older code would read it wrongly."""
    url = f"sqlite:///{tmp_path}/t.db"
    open_database(url, create=True).dispose()
    with sqlite3.connect(f"{tmp_path}/t.db") as connection:
        connection.execute("UPDATE tenyson_schema SET version_num = '0999'")
    for create in (True, False):
        with pytest.raises(TelemetryError, match="Upgrade tenyson-core"):
            open_database(url, create=create)


def test_somebody_elses_tables_are_left_alone(tmp_path):
    """A database of another program with a table `runs`."""
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute("CREATE TABLE runs (a, b)")
    with pytest.raises(TelemetryError, match="a database of its own"):
        open_database(f"sqlite:///{tmp_path}/t.db", create=True)


def test_this_release_reads_every_released_schema():
    """The newest migration is the version that the code writes, and each version has its fixture."""
    versions = sorted(path.name[:4] for path in VERSIONS.glob("0*.py"))
    assert versions[-1] == schema.HEAD
    assert sorted(path.stem for path in SCHEMAS.glob("*.sql")) == versions


def test_the_newest_fixture_is_read(tmp_path):
    """Two attempts, the second one resumed from step 1."""
    url = fixture_database(tmp_path, schema.HEAD)
    assert rows(url, "SELECT step, value FROM metrics ORDER BY step") == [
        {"step": 1, "value": 1.0},
        {"step": 2, "value": 0.5},
    ]
    assert rows(url, "SELECT completion, attempt FROM rollouts") == [{"completion": "5", "attempt": 2}]
    assert rows(url, "SELECT message FROM notices") == [{"message": "resumed"}]
    assert rows(url, "SELECT number, error_class, retried, attempt FROM rollout_errors") == [
        {"number": 0, "error_class": "ConnectionError", "retried": 1, "attempt": 2}
    ]
    assert rows(url, "SELECT reward, criterion, value, usd, reused, step FROM verdicts") == [
        {"reward": "judge", "criterion": "It is polite.", "value": 1.0, "usd": 0.001, "reused": 0, "step": 1}
    ]
    assert rows(url, "SELECT tool_calls, tool_calls_refused FROM rollouts") == [
        {"tool_calls": 2, "tool_calls_refused": 1}
    ]
    assert rows(url, "SELECT number, turn, tool, outcome, cause, seconds, attempt FROM tool_calls") == [
        {"number": 0, "turn": 1, "tool": "add", "outcome": "arguments", "cause": "b: required", "seconds": None, "attempt": 2},
        {"number": 1, "turn": 2, "tool": "add", "outcome": "answered", "cause": "", "seconds": 0.25, "attempt": 2},
    ]  # fmt: skip


@pytest.mark.parametrize("dialect", frozen.DIALECTS)
def test_the_frozen_schema_is_that_of_the_code(dialect):
    """`python -m tenyson.telemetry.migrations.frozen` would change nothing."""
    path = frozen.FOLDER / f"{schema.HEAD}.{dialect}.sql"
    assert path.read_text(encoding="utf-8") == frozen.newest_schema(dialect)
