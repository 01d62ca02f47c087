"""Commands that read open the database read-only: they need no right to write, and leave the folder as it was."""

import ctypes
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from recording import UID, finished, metrics, rollout, started
from sqlalchemy.exc import DBAPIError

from tenyson.cli.main import main
from tenyson.pipeline.journal.journal import Journal
from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.database.engine import open_database

COMMANDS = (
    "runs", "show run-1", "logs run-1", "metrics run-1", "rollouts run-1", "compare run-1 run-1", "lineage run-1",
    "sql TABLES", "pipelines", "pipelines pipe", "why nothing --pipeline pipe",
)  # fmt: skip
"""Every command that only reads; TABLES becomes a query."""
WRITER = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("UPDATE runs SET task = 'written last'")
print("written", flush=True)
if sys.argv[2] == "dies":
    os._exit(1)
sys.stdin.read()
"""


@pytest.fixture
def recorded(make_config, tmp_path, monkeypatch):
    """A folder with one file: the database of one run and one pipeline."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "kept"
    url = f"sqlite:///{folder}/t.db"
    telemetry = open_telemetry(
        make_config(telemetry={"db_url": url, "sinks": ["sql"]}), tmp_path / "outputs/run-1", attempt_uid=UID
    )
    telemetry.emit(started(), metrics(1), rollout(), finished())
    telemetry.close()
    with Journal(url) as journal:
        journal.create(
            "pipe", "pipe", "f", {}, {"a": {"spec": {"run_id": "r", "job_type": "sft"}, "needs": []}}
        )
    assert [path.name for path in folder.iterdir()] == ["t.db"]
    return folder


def _state(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        path.name: (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in folder.iterdir()
    }


def _ask_all(url: str, capsys) -> str:
    said = ""
    for command in COMMANDS:
        arguments = ["SELECT run_id, task FROM runs" if one == "TABLES" else one for one in command.split()]
        status = main([*arguments, "--db-url", url])
        captured = capsys.readouterr()
        # A run without a log, and a pipeline without steps, have nothing to show.
        assert status == (2 if command.startswith(("logs", "why")) else 0), (command, captured.err)
        assert "read" not in captured.err, (command, captured.err)
        said += captured.out
    return said


@pytest.mark.parametrize(
    "form", ["sqlite:///{}", "sqlite:///file:{}?mode=ro&uri=true", "sqlite:///{}?mode=ro"]
)
def test_looking_leaves_the_folder_of_a_database_as_it_was(recorded, capsys, form):
    """SQLite itself would leave -wal and -shm files beside a database that it opens for reading."""
    before = _state(recorded)
    said = _ask_all(form.format(recorded / "t.db"), capsys)
    assert "run-1" in said
    assert "pipe" in said
    assert _state(recorded) == before


@pytest.mark.parametrize("ending", ["dies", "lives"])
def test_what_a_writer_has_not_moved_into_the_file_is_read_and_left_there(recorded, capsys, ending):
    """Beside a running writer, and after one that was killed, whose log of changes nobody replays by looking."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, recorded / "t.db", ending],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert writer.stdout.readline() == b"written\n"
    if ending == "dies":
        writer.wait(timeout=30)
    before = _state(recorded)
    assert set(before) == {"t.db", "t.db-wal", "t.db-shm"}
    assert "written last" in _ask_all(f"sqlite:///{recorded}/t.db", capsys)
    assert _state(recorded) == before
    writer.communicate(timeout=30)


@pytest.mark.slow
def test_a_copy_with_its_log_but_without_the_logs_index_is_read(recorded, capsys):
    """As `cp t.db t.db-wal` makes it; no index is left there."""
    subprocess.run([sys.executable, "-c", WRITER, recorded / "t.db", "dies"], stdout=subprocess.DEVNULL)
    (recorded / "t.db-shm").unlink()
    before = _state(recorded)
    assert "written last" in _ask_all(f"sqlite:///{recorded}/t.db", capsys)
    assert _state(recorded) == before


@pytest.mark.slow
@pytest.mark.parametrize("log", [False, True])
def test_a_folder_that_may_not_be_written_can_be_read(recorded, log, tmp_path):
    """A read-only mount or another user's folder, also where a killed writer has left its log."""
    if log:
        subprocess.run([sys.executable, "-c", WRITER, recorded / "t.db", "dies"], stdout=subprocess.DEVNULL)
    for path in recorded.iterdir():
        path.chmod(0o444)
    recorded.chmod(0o555)
    try:
        code = (
            "import sys, pathlib\nfrom tenyson.cli.main import main\n"
            "try: pathlib.Path(sys.argv[1], 'x').touch(); raise SystemExit('could be written')\n"
            "except PermissionError: pass\n"
            "for c in sys.argv[3:]:\n    assert main([*c.split('|'), '--db-url', sys.argv[2]]) == 0, c\n"
        )
        commands = [
            "runs",
            "metrics|run-1",
            "rollouts|run-1",
            "sql|SELECT * FROM runs",
            "pipelines",
            "lineage|run-1",
        ]
        done = subprocess.run(
            [sys.executable, "-c", code, recorded, f"sqlite:///{recorded}/t.db", *commands],
            capture_output=True, text=True, timeout=60, preexec_fn=_obey_permissions,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "run-1" in done.stdout
        assert ("written last" in done.stdout) == log
    finally:
        recorded.chmod(0o755)


def _obey_permissions() -> None:
    """Root may write anywhere, unless it gives up that right (CAP_DAC_OVERRIDE)."""
    if os.geteuid() == 0:
        assert ctypes.CDLL(None).prctl(24, 1, 0, 0, 0) == 0


def test_looking_makes_no_database(tmp_path, monkeypatch, capsys):
    """Not in an empty folder, not by a misspelt name, and nothing is written through a URL that says mode=ro."""
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        main([*command.split(), "--db-url", "sqlite:///./nosuch.db"])
        main(command.split())
    assert list(tmp_path.iterdir()) == []
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE t (a)")
    before = _state(tmp_path)
    capsys.readouterr()
    assert main(["telemetry", "migrate", "--db-url", "sqlite:///other.db?mode=ro"]) == 2
    assert "mode=ro" in capsys.readouterr().err
    assert _state(tmp_path) == before


def test_a_report_is_written_from_a_database_that_is_only_read(recorded, tmp_path, capsys):
    """Its own folder gets the report; the database's folder stays as it was."""
    before = _state(recorded)
    main(["report", "pipe", "--to", str(tmp_path / "report"), "--db-url", f"sqlite:///{recorded}/t.db"])
    assert "Traceback" not in capsys.readouterr().err
    assert _state(recorded) == before


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "PRAGMA query_only = OFF", "PRAGMA journal_mode = DELETE", "PRAGMA writable_schema = 1", "PRAGMA user_version = 7",
        "ATTACH 'x.db' AS x", "VACUUM INTO 'x.db'", "BEGIN IMMEDIATE", "CREATE TEMP TABLE x (a)",
        "SELECT load_extension('x')", "DELETE FROM runs RETURNING *", "EXPLAIN DELETE FROM runs", "SELECT 1; SELECT 2",
        "UPDATE sqlite_master SET sql = ''", "SAVEPOINT x", "REINDEX",
    ],
)  # fmt: skip
def test_sql_refuses_what_is_no_query_of_sqlite(recorded, capsys, statement):
    """SQLite is asked what a statement would do; its words do not count."""
    before = _state(recorded)
    assert main(["sql", statement, "--db-url", f"sqlite:///{recorded}/t.db"]) == 2
    assert "error:" in capsys.readouterr().err
    assert _state(recorded) == before


def test_sql_asks_sqlite_for_its_schema(recorded, capsys):
    """What tells and changes nothing is not refused: pragmas that list, functions that return tables, CTEs."""
    url = f"sqlite:///{recorded}/t.db"
    for query in (
        "PRAGMA table_info(runs)", "SELECT * FROM pragma_table_info('runs')", "SELECT * FROM json_each('[1]')",
        "PRAGMA user_version", "EXPLAIN QUERY PLAN SELECT * FROM runs", "SELECT count(*) FROM sqlite_master",
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 5) SELECT sum(n) FROM c;",
    ):  # fmt: skip
        assert main(["sql", query, "--db-url", url]) == 0, capsys.readouterr().err


@pytest.mark.slow
def test_sql_on_postgres_is_one_statement_that_only_reads(make_config, tmp_path, postgres_url, capsys):
    """Whatever the text is: it cannot leave its transaction, write, or reach the server and other sessions by functions."""
    import psycopg

    config = make_config(telemetry={"db_url": postgres_url, "sinks": ["sql"]})
    telemetry = open_telemetry(config, tmp_path / "run-1", attempt_uid=UID)
    telemetry.emit(started(), rollout(), finished())
    telemetry.close()
    mark = f"/tmp/{Path(tmp_path).name}-mark"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE SEQUENCE counter")
        connection.execute("CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    for statement in (
        "commit; begin read write; delete from runs; commit",
        "select 1; delete from runs",
        "select 'a\\'; delete from runs; --'",
        "/* select */ delete from runs",
        "with gone as (delete from runs returning *) select * from gone",
        "explain analyze delete from runs",
        "select * into mine from runs",
        "select * from runs for update",
        f"copy (select 1) to program 'touch {mark}'",
        f"copy runs to '{mark}'",
        "do $$ begin delete from runs; end $$",
        "set default_transaction_read_only = off",
        "listen x",
        "select set_config('transaction_read_only', 'off', false)",
        "select set_config('role', 'none', false), query_to_xml('select 1', true, true, '')",
        "select nextval('counter')",
        "select setval('counter', 7)",
        "select pg_read_file('/etc/hostname')",
        "select \"pg_read_file\"('/etc/hostname')",
        "select pg_catalog.PG_READ_FILE /* ( */ ('/etc/hostname')",
        "select U&\"pg\\005fread_file\"('/etc/hostname')",
        "select E'a'\n'\\'' || pg_read_file('/etc/hostname') || '\\''",
        f"select lo_export(1, '{mark}')",
        "select lo_import('/etc/hostname')",
        "select pg_terminate_backend(pid) from pg_stat_activity",
        "select pg_advisory_lock(1)",
        "select pg_notify('a', 'b')",
        "select * from pg_ls_dir('.')",
        "select mine()",
        "select $$ ; $$ || ';' ; drop table notices",
    ):
        assert main(["sql", statement, "--db-url", postgres_url]) == 2, statement
        said = capsys.readouterr().err
        assert "error:" in said, statement
        assert "Traceback" not in said
    assert not Path(mark).exists()
    found = _sql_json("select (select count(*) from runs) as runs, (select last_value from counter) as counter, "
                      "current_setting('transaction_read_only') as read_only, current_user as role", postgres_url, capsys)  # fmt: skip
    assert found == [{"runs": 1, "counter": 1, "read_only": "on", "role": "pg_read_all_data"}]
    for query, value in (
        ("(select ';' as x) -- ; delete", ";"),
        ("values ('it''s 100 %')", "it's 100 %"),
        ("select $x$ ; 'quoted $x$;", " ; 'quoted "),
        ("table runs", 1),
        ("select (random() < 2)::int as x where 1 in (1, 2) and exists (select 1)", 1),
        ("explain select * from runs", None),
        ("show transaction_read_only", "on"),
    ):
        (row,) = _sql_json(query, postgres_url, capsys)[:1]
        assert value is None or next(iter(row.values())) == value, query


def _sql_json(query: str, url: str, capsys) -> list[dict]:
    assert main(["sql", query, "--json", "--db-url", url]) == 0, (query, capsys.readouterr().err)
    return json.loads(capsys.readouterr().out)


def test_a_user_without_the_reading_role_reads_with_its_own_rights(
    make_config, tmp_path, postgres_url, capsys
):
    """Not every server has the role, and not every user may take it."""
    import psycopg

    config = make_config(telemetry={"db_url": postgres_url, "sinks": ["sql"]})
    telemetry = open_telemetry(config, tmp_path / "run-1", attempt_uid=UID)
    telemetry.emit(started(), finished())
    telemetry.close()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS plain_reader")
        connection.execute("CREATE ROLE plain_reader LOGIN")
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO plain_reader")
    url = postgres_url.replace("tester@", "plain_reader@")
    assert _sql_json("select current_user as role, count(*) as n from runs", url, capsys) == [
        {"role": "plain_reader", "n": 1}
    ]
    assert main(["sql", "delete from runs", "--db-url", url]) == 2
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP OWNED BY plain_reader")
        connection.execute("DROP ROLE plain_reader")


@pytest.mark.slow
def test_readers_of_postgres_keep_the_options_of_the_url(make_config, tmp_path, postgres_url, capsys):
    """A search path in the URL names the schema that is written and the one that is read; reading stays read-only."""
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA mine")
    mine = f"{postgres_url}&options=-csearch_path%3Dmine"
    for url, job_type in ((postgres_url, "sft"), (mine, "rl")):
        config = make_config(telemetry={"db_url": url, "sinks": ["sql"]})
        telemetry = open_telemetry(config, tmp_path / job_type, attempt_uid=UID)
        telemetry.emit(started(job_type=job_type), finished())
        telemetry.close()
    assert _sql_json("select job_type from runs", mine, capsys) == [{"job_type": "rl"}]
    assert main(["runs", "--json", "--db-url", mine]) == 0
    assert [one["job"] for one in json.loads(capsys.readouterr().out)] == ["rl"]
    with (
        open_database(mine, create=False).connect() as connection,
        pytest.raises(DBAPIError, match="read-only"),
    ):
        connection.exec_driver_sql("delete from runs")
