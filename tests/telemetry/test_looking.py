"""Looking at what was recorded, through the real command line, on the database of docs/how-to/sql.md."""

import csv
import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.fakes import forked

ROOT = Path(__file__).parents[2]
TENYSON = Path(sys.executable).with_name("tenyson")


@pytest.fixture(scope="session")
def arithmetic(tmp_path_factory):
    """The four made-up runs."""
    folder = tmp_path_factory.mktemp("arithmetic")
    url = f"sqlite:///{folder}/t.db"
    subprocess.run([sys.executable, ROOT / "docs/examples/arithmetic_runs.py", url], check=True, timeout=120)
    return url


@pytest.fixture
def tenyson(tmp_path, arithmetic):
    """Calls the command line in an empty folder, on that database."""

    def call(*arguments, fails=False, url=arithmetic):
        environment = os.environ | {"TENYSON_DB_URL": url, "COLUMNS": "100"}
        done = forked.tenyson(*arguments, cwd=tmp_path, env=environment)
        assert "Traceback" not in done.stderr
        if fails:
            assert done.returncode == 2, done.stdout
            return done.stderr
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


@pytest.mark.slow
def test_runs_can_be_filtered_and_sorted(tenyson):
    """By kind, name, status and time; newest first unless said otherwise."""

    def names(*arguments):
        return [run["run_id"] for run in json.loads(tenyson("runs", "--json", *arguments))]

    assert names()[0] == "sums-rl"
    assert set(names()) == {"sums-rl", "sums-sft", "eval-before", "eval-after"}
    assert names("--job", "eval", "--sort", "name") == ["eval-after", "eval-before"]
    assert names("--name", "sums-*", "--sort", "name", "--reverse") == ["sums-sft", "sums-rl"]
    assert names("--status", "failed") == []
    assert names("--since", "1h") == []
    assert names("--where", "win_rate>0.5") == []
    assert "no run matches" in tenyson("runs", "--task", "chess")
    assert "no comparison" in tenyson("runs", "--where", "much", fails=True)
    assert "started, took, name" in tenyson("runs", "--sort", "beauty", fails=True)


def test_the_list_of_runs_needs_no_sqlalchemy_and_says_the_same(arithmetic, tmp_path):
    """Its import would take longer than all else."""
    from tenyson.telemetry.database.schema import HEAD as NEWEST
    from tenyson.telemetry.read.listing import HEAD, list_runs
    from tenyson.telemetry.read.store import Store

    assert HEAD == NEWEST
    with Store(arithmetic) as store:
        assert list_runs(arithmetic, 3) == store.runs(3)
    code = (
        "import sys\nfrom tenyson.cli.main import main\nmain(['runs'])\n"
        "print(sorted({'sqlalchemy', 'pydantic', 'torch', 'rich', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"TENYSON_DB_URL": arithmetic},
    )
    assert "sums-rl" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_wide_runs_show_the_folder_and_all_numbers(tenyson):
    """More columns, still one line a run."""
    head, *lines = tenyson("runs", "--wide").splitlines()
    assert head.split()[-3:] == ["attempt", "folder", "results"]
    assert len(lines) == 4


def test_a_silent_run_is_called_lost(tenyson, tmp_path, make_config):
    """Nobody has heard of it for a minute, and nobody wrote its end."""
    from recording import UID, started

    from tenyson.telemetry.build import open_telemetry

    url = f"sqlite:///{tmp_path}/lost.db"
    config = make_config(telemetry={"db_url": url, "sinks": ["sql"]})
    telemetry = open_telemetry(config, tmp_path / "run-1", attempt_uid=UID)
    telemetry.emit(started(time=time.time() - 600))
    telemetry.close()
    assert " running " in tenyson("runs", url=url)
    with sqlite3.connect(tmp_path / "lost.db") as connection:
        connection.execute("UPDATE attempts SET heartbeat_at = heartbeat_at - 300")
    assert " lost " in tenyson("runs", url=url)
    assert "no heartbeat" in tenyson("show", "run-1", url=url)


def test_show_tells_attempts_lineage_code_and_machine(tenyson):
    """Both attempts, from where the second one went on, and what the run was made from."""
    said = tenyson("show", "sums-rl")
    assert re.search(r"from adapter +sums-sft \(run sums-sft\)", said)
    assert re.search(r"attempt 2 .*from step 20: completed; on gpu-1, cpu, commit 5f0c3a9d5f0c", said)
    assert "attempt 1" in said


def test_a_run_can_be_named_by_its_beginning(tenyson):
    """As long as only one begins like this; else all are named, and for a typing mistake the nearest."""
    assert "sums-rl" in tenyson("show", "sums-r")
    for command in ("metrics", "show", "logs", "rollouts"):
        assert "eval-after, eval-before" in tenyson(command, "eval", fails=True)
    assert "did you mean sums-rl?" in tenyson("rollouts", "smus-rl", fails=True)


def test_metrics_are_a_table_csv_json_or_a_drawing(tenyson):
    """The canonical curve: each step once, also of the resumed run."""
    table = tenyson("metrics", "sums-rl", "reward").splitlines()
    assert table[0].split() == ["step", "reward"]
    assert [line.split()[0] for line in table[1:]] == [str(step) for step in range(1, 41)]
    rows = list(csv.DictReader(tenyson("metrics", "sums-rl", "kl", "--csv").splitlines()))
    assert (rows[-1]["step"], float(rows[-1]["kl"])) == ("40", 0.078)
    curves = json.loads(tenyson("metrics", "sums-rl", "k*", "--json"))
    assert len(curves["sums-rl"]["kl"]) == 40
    drawing = tenyson("metrics", "sums-rl", "reward", "--plot", "--smooth", "5")
    assert "reward" in drawing
    assert "\x1b" not in drawing  # not a terminal
    assert len(drawing.splitlines()) > 10
    assert max(map(len, drawing.splitlines())) <= 100
    assert "there are kl, learning_rate, loss, reward" in tenyson("metrics", "sums-rl", "beauty", fails=True)


@pytest.mark.slow
def test_rollouts_worst_best_of_a_step_a_group_or_a_sample(tenyson):
    """With reward components, advantage, and why they were not trained on."""

    def found(*arguments):
        return json.loads(tenyson("rollouts", "sums-rl", "--json", *arguments))

    assert [row["reward"] for row in found("--worst", 3)] == [0.0, 0.0, 0.0]
    best = found("--best", 2)
    assert [row["reward"] for row in best] == [1.25, 1.25]
    assert {row["step"] for row in found("--step", 7, "--limit", 100)} == {7}
    group = best[0]["group_id"]
    assert {row["group_id"] for row in found("--group", group)} == {group}
    assert {row["sample_id"] for row in found("--sample", "sum/12")} == {"sum/12"}
    assert all("Let me see" in row["completion"] for row in found("--grep", r"Let me see\. L"))
    assert {row["dropped"] for row in found("--dropped")} == {"all rewards of its group are equal"}
    said = tenyson("rollouts", "sums-rl", "--dropped", "--limit", 1)
    assert "not trained on: all rewards of its group are equal" in said
    assert "advantage 0" in said
    assert "no regular expression" in tenyson("rollouts", "sums-rl", "--grep", "(", fails=True)
    assert "has no such rollouts" in tenyson("rollouts", "sums-sft", fails=True)


@pytest.mark.slow
def test_what_became_of_the_same_sample_can_be_seen(tenyson):
    """--diff STEP1 STEP2."""
    said = tenyson("rollouts", "sums-rl", "--diff", 3, 24)
    assert re.search(r"sum/12  reward 0.25 -> 1.25", said)
    assert "--- step 3" in said
    assert "+++ step 24" in said
    assert "sum/12" in tenyson("rollouts", "sums-rl", "--diff", 3, 24, "--training")
    assert "no sample was played at both" in tenyson(
        "rollouts", "sums-rl", "--diff", 3, 24, "--evaluation", fails=True
    )
    for option in (
        ["--step", 3], ["--best", 1], ["--worst", 1], ["--group", "3/sum/12"], ["--grep", "see"], ["--dropped"],
    ):  # fmt: skip
        said = tenyson("rollouts", "sums-rl", "--diff", 3, 24, *option, fails=True)
        assert f"{option[0]} does not go with --diff" in said
    assert "no sample was played at both" in tenyson("rollouts", "sums-rl", "--diff", 0, 999, fails=True)


HOSTILE = (
    "\x1b[2J\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07\x1b[31mred\x1b[0m over\rwrite \x9b1m \x08\x7f "
    "\u202egnp.exe \x1bPq#0\x1b\\ end\ttab"
)


def test_what_a_model_wrote_is_stored_raw_and_printed_without_what_a_terminal_obeys(
    tenyson, tmp_path, make_config
):
    """Clearing the screen, the title, the clipboard, overwriting, and turning the direction of writing."""
    from recording import UID, rollout, rows, started

    from tenyson.telemetry.build import open_telemetry

    url = f"sqlite:///{tmp_path}/t.db"
    config = make_config(telemetry={"db_url": url, "sinks": ["sql"]})
    telemetry = open_telemetry(config, tmp_path / "run-1", attempt_uid=UID)
    telemetry.emit(started(), rollout(completion=HOSTILE, sample_id="s\x1b[31m"))
    telemetry.close()
    assert rows(url, "SELECT completion FROM rollouts") == [{"completion": HOSTILE}]
    for command in (["rollouts", "run-1"], ["sql", "SELECT completion, sample_id FROM rollouts", "--full"]):
        said = tenyson(*command, url=url)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said), command
        assert "ZXZpbA" not in said
        assert "red over" in said
        assert "<U+202E>gnp.exe" in said


@pytest.mark.slow
def test_names_and_reasons_in_the_database_are_printed_without_what_a_terminal_obeys(
    tenyson, tmp_path, make_config
):
    """Whoever may write rows, or makes a library fail with a text of their own, could put escape sequences there."""
    from recording import UID, metrics, rollout

    from tenyson.telemetry.build import open_telemetry
    from tenyson.telemetry.events import EventsLost, RunFinished, RunStarted

    url = f"sqlite:///{tmp_path}/t.db"
    config = make_config(telemetry={"db_url": url, "sinks": ["sql"]})
    telemetry = open_telemetry(config, tmp_path / "run-1", attempt_uid=UID)
    about = {"git_commit": HOSTILE, "host": HOSTILE, "accelerator": HOSTILE}
    made_from = [{"kind": "adapter" + HOSTILE, "reference": HOSTILE, "source_run_id": HOSTILE}]
    telemetry.emit(
        RunStarted(
            run_id="run-1", job_type="rl", task=HOSTILE, config={"model": {"name": HOSTILE}}, output_dir="o" + HOSTILE,
            provenance=about, inputs=made_from,
        ),
        metrics(1, **{"loss" + HOSTILE: 1.0}),
        rollout(components={"judge" + HOSTILE: 1.0}),
        EventsLost(run_id="run-1", sink="s" + HOSTILE, reason=HOSTILE, events=1),
        RunFinished(
            run_id="run-1", status="failed", reason=HOSTILE,
            result={"total_time_seconds": 1.0, "metrics": {"m" + HOSTILE: 1.0}, "failure_reason": HOSTILE},
        ),
    )  # fmt: skip
    telemetry.close()
    with sqlite3.connect(tmp_path / "t.db") as connection:
        connection.execute(
            "INSERT INTO run_controls (run_id, verb, status, reason, requested_by, requested_at) "
            "VALUES ('run-1', 'stop' || ?1, 'rejected', ?1, ?1, 1)",
            (HOSTILE[:8],),
        )
    for command in (
        ["show", "run-1"], ["runs"], ["runs", "--wide"], ["metrics", "run-1"], ["metrics", "run-1", "--plot"],
        ["compare", "run-1", "run-1"], ["rollouts", "run-1"],
    ):  # fmt: skip
        said = tenyson(*command, url=url)
        assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", said), command
        assert "red over" in said, command
    for command in (["metrics", "run-1", "nosuch"], ["runs", "--sort", "nosuch"]):
        assert "\x1b" not in tenyson(*command, url=url, fails=True), command


@pytest.mark.slow
def test_compare_pairs_by_sample_and_tests_for_chance(tenyson):
    """Interval and p-value; the same run against itself differs in nothing."""
    found = json.loads(tenyson("compare", "eval-before", "eval-after", "--json"))["metrics"]["reward"]
    assert found["paired"] is True
    assert (found["n"], round(found["value"], 4), found["p"]) == (60, 0.5938, 0.0002)
    assert found["low"] < found["value"] < found["high"]
    same = json.loads(tenyson("compare", "eval-after", "eval-after", "--json", "--metric", "right"))
    assert (same["metrics"]["right"]["value"], same["metrics"]["right"]["p"]) == (0.0, 1.0)
    said = tenyson("compare", "eval-before", "eval-after")
    assert "paired by sample" in said
    assert "has no rollouts to compare" in tenyson("compare", "sums-sft", "eval-after", fails=True)
    assert "both have reward, right" in tenyson(
        "compare", "eval-before", "eval-after", "--metric", "x", fails=True
    )


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM rollout_records",
        "INSERT INTO run_controls (run_id) VALUES ('x')",
        "UPDATE runs SET status = 'x'",
        "DROP VIEW rollouts",
        "CREATE TABLE mine (a)",
        "ATTACH 'other.db' AS other; SELECT 1",
        "ATTACH 'other.db' AS other",
        "VACUUM INTO 'other.db'",
        "SELECT 1; DELETE FROM runs",
        "WITH gone AS (SELECT 1) DELETE FROM runs",
    ],
)
def test_sql_reads_and_changes_nothing(tenyson, arithmetic, tmp_path, query):
    """Whatever is asked, the file stays as it is, and no other one is made."""
    path = Path(arithmetic.removeprefix("sqlite:///"))
    before = path.read_bytes()
    assert "error:" in tenyson("sql", query, fails=True)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_sql_on_postgres_reads_and_changes_nothing(tenyson, make_config, tmp_path, postgres_url):
    """The session is read only, and one statement is taken at a time."""
    from recording import UID, rollout, started

    from tenyson.telemetry.build import open_telemetry

    config = make_config(telemetry={"db_url": postgres_url, "sinks": ["sql"]})
    telemetry = open_telemetry(config, tmp_path / "run-1", attempt_uid=UID)
    telemetry.emit(started(), rollout(completion="100 % sure"))
    telemetry.close()
    assert "100 % sure" in tenyson(
        "sql", "SELECT completion FROM rollouts WHERE completion LIKE '100 %'", url=postgres_url
    )
    for query in ("DELETE FROM runs", "SELECT 1; DELETE FROM runs", "CREATE TABLE mine (a int)"):
        assert "error:" in tenyson("sql", query, url=postgres_url, fails=True)
    assert '"n": 1' in tenyson("sql", "SELECT count(*) AS n FROM runs", "--json", url=postgres_url)
    said = tenyson("sql", "SELECT pg_sleep(20)", "--timeout", "0.5", url=postgres_url, fails=True)
    assert "longer than 0.5 s" in said


@pytest.mark.slow
def test_sql_on_postgres_fetches_no_more_than_it_prints(tenyson, make_config, tmp_path, postgres_url):
    """Of a thousand million rows, those of --limit, long before all could have come."""
    from recording import UID, started

    from tenyson.telemetry.build import open_telemetry

    config = make_config(telemetry={"db_url": postgres_url, "sinks": ["sql"]})
    telemetry = open_telemetry(config, tmp_path / "run-1", attempt_uid=UID)
    telemetry.emit(started())
    telemetry.close()
    query = ("sql", "/* all of them */ SELECT generate_series(1, 1000000000) AS n", "--timeout", "5")
    assert tenyson(*query, "--limit", "3", url=postgres_url).split() == ["n", "1", "2", "3"]
    assert "Seq Scan" in tenyson("sql", "EXPLAIN SELECT * FROM runs", url=postgres_url)


@pytest.mark.slow
def test_sql_says_the_same_of_either_database(tenyson, make_config, tmp_path, sqlite_url, postgres_url):
    """JSON as JSON, and truth values as 1 and 0, in tables and CSV."""
    from recording import UID, rollout, started

    from tenyson.telemetry.build import open_telemetry

    said = []
    for at, url in enumerate((sqlite_url, postgres_url)):
        config = make_config(telemetry={"db_url": url, "sinks": ["sql"]})
        telemetry = open_telemetry(config, tmp_path / str(at) / "run-1", attempt_uid=UID)
        telemetry.emit(started(), rollout(info={"words": ["grün", None]}, reward=0.5))
        telemetry.close()
        query = ("sql", "SELECT components, info, trained, truncated, advantage, reward FROM rollouts")
        said.append((tenyson(*query, url=url), tenyson(*query, "--csv", url=url)))
    assert said[0] == said[1]
    (row,) = csv.reader(said[1][1].splitlines()[1:])
    assert row == ['{"right":1.0}', '{"words":["grün",null]}', "1", "0", "", "0.5"]


@pytest.mark.slow
def test_grep_looks_through_all_rollouts(tenyson, make_config, tmp_path):
    """However many there are: the oldest of more than two hundred thousand is found."""
    from recording import UID, rollout, started

    from tenyson.telemetry.build import open_telemetry

    url = f"sqlite:///{tmp_path}/t.db"
    config = make_config(telemetry={"db_url": url, "sinks": ["sql"]})
    telemetry = open_telemetry(config, tmp_path / "run-1", attempt_uid=UID)
    telemetry.emit(started(), rollout(completion="a needle", step=1), rollout(completion="hay", step=2))
    telemetry.close()
    with sqlite3.connect(tmp_path / "t.db") as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(rollout_records)")]
        copied = ", ".join("r.id + n.i" if name == "id" else f"r.{name}" for name in columns)
        connection.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200000) "
            f"INSERT INTO rollout_records ({', '.join(columns)}) "
            f"SELECT {copied} FROM n, rollout_records r WHERE r.completion = 'hay'"
        )
    found = json.loads(tenyson("rollouts", "run-1", "--grep", "needle", "--json", url=url))
    assert [row["step"] for row in found] == [1]
    hay = json.loads(tenyson("rollouts", "run-1", "--grep", "hay", "--limit", "3", "--json", url=url))
    assert [row["completion"] for row in hay] == ["hay"] * 3


@pytest.mark.slow
def test_sql_has_a_time_limit_and_a_limit_of_rows(tenyson):
    """A query that would never end is ended."""
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
    begun = time.monotonic()
    assert "longer than 1 s" in tenyson("sql", endless, "--timeout", "1", fails=True)
    assert time.monotonic() - begun < 20
    assert len(tenyson("sql", "SELECT id FROM rollouts", "--limit", "5").splitlines()) == 6
    assert "syntax error" in tenyson("sql", "SELEC 1", fails=True)
    assert "rollout_records" in tenyson("sql", "--tables")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
def test_export_loses_nothing(tenyson, tmp_path, form):
    """Every rollout, with its texts whole."""
    tenyson("export", "sums-rl", "--to", form)
    path = tmp_path / f"sums-rl-rollouts.{form}"
    if form == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        rows = parquet.read_table(path).to_pylist()
    elif form == "jsonl":
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    else:
        rows = list(csv.DictReader(path.open(newline="")))
    assert len(rows) == 960
    expected = json.loads(tenyson("rollouts", "sums-rl", "--limit", "960", "--json"))
    assert sorted(row["completion"] for row in rows) == sorted(row["completion"] for row in expected)
    assert {float(row["reward"]) for row in rows} == {row["reward"] for row in expected}
    tenyson("export", "sums-rl", "--to", form, "--what", "metrics", "-o", tmp_path / "m")
    assert (tmp_path / "m").stat().st_size > 0
    assert "has no rollouts to export" in tenyson("export", "sums-sft", "--to", form, fails=True)


def test_compressed_texts_are_read_by_all_of_our_commands(tenyson, tmp_path, make_config, arithmetic):
    """And a plain client sees a hint in place of the text, and all else."""
    pytest.importorskip("zstandard")
    from recording import UID, rollout, started

    from tenyson.telemetry.build import open_telemetry

    url = f"sqlite:///{tmp_path}/t.db"
    settings = {"db_url": url, "sinks": ["sql"], "settings": {"sql": {"compress": True}}}
    telemetry = open_telemetry(make_config(telemetry=settings), tmp_path / "run-1", attempt_uid=UID)
    text = "grüße 🎲 " * 50
    telemetry.emit(started(), rollout(completion=text))
    telemetry.close()
    assert text in tenyson("rollouts", "run-1", "--full", url=url)
    assert text in tenyson("sql", "SELECT completion FROM generations WHERE completion LIKE 'grüße%'", "--json", url=url) \
        .encode().decode("unicode_escape").encode("utf-16", "surrogatepass").decode("utf-16")  # fmt: skip
    tenyson("export", "run-1", "--to", "jsonl", url=url)
    assert json.loads((tmp_path / "run-1-rollouts.jsonl").read_text())["completion"] == text
    with sqlite3.connect(tmp_path / "t.db") as connection:
        row = connection.execute("SELECT completion, reward, prompt FROM rollouts").fetchone()
    assert row == ("(compressed: `tenyson sql` and `tenyson rollouts` read it)", 1.5, "2+2=")


def test_logs_follow_a_run_to_its_end(tenyson, tmp_path):
    """Marked events as lines for people, the rest as it is, without escape sequences; the end ends it."""
    from tenyson.telemetry.events import MetricsLogged, Notice
    from tenyson.telemetry.events.wire import encode

    folder = tmp_path / "outputs" / "run-7"
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text("model: {name: m}\n")
    (folder / "process.json").write_text("{}")
    log = folder / "log.txt"
    event = MetricsLogged(run_id="run-7", phase="sft", step=3, total_steps=9, values={"loss": 0.5})
    log.write_text(f"loading\x1b[2J weights\n{encode(event)}\n")
    follow = subprocess.Popen(
        [TENYSON, "logs", "run-7", "-f"], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        env={name: value for name, value in os.environ.items() if name != "TENYSON_DB_URL"},
    )  # fmt: skip
    assert follow.stdout.readline() == "loading weights\n"
    assert follow.stdout.readline() == "step 3/9  loss 0.5\n"
    with log.open("a") as file:
        file.write(encode(Notice(run_id="run-7", level="warning", message="nearly full")) + "\n")
    assert follow.stdout.readline() == "warning: nearly full\n"
    (folder / "exit_status.json").write_text("{}")
    assert follow.wait(timeout=20) == 0
    assert tenyson("logs", "run-7", "-n", "1").splitlines() == ["warning: nearly full"]


def test_telemetry_recover_tells_what_it_did(tenyson, tmp_path):
    """By default for all job folders, into the database that each run's own configuration names."""
    from recording import left_behind, metrics, rows, started

    from tenyson.telemetry.database.engine import open_database

    folder = tmp_path / "outputs" / "run-1"
    url = f"sqlite:///{tmp_path}/own.db"
    open_database(url, create=True).dispose()
    left_behind(folder, [started(), metrics(1)])
    (folder / "config.yaml").write_text(f"telemetry: {{db_url: '{url}'}}\n")
    assert "events wait in" in tenyson("show", "run-1")
    said = tenyson("telemetry", "recover")
    assert "run-1: 2 events stored" in said
    assert "marked as failed" in said
    assert rows(url, "SELECT count(*) AS n FROM metrics") == [{"n": 1}]
    assert "nothing to store" in tenyson("telemetry", "recover")
    assert "no such folder" in tenyson("telemetry", "recover", "elsewhere", fails=True)
