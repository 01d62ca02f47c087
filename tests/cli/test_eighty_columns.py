"""What a person reads at 80 columns: names in full, no word broken, one clock, and where to look."""

import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from io import StringIO
from pathlib import Path

import pytest
from tests.fakes.forked import tenyson
from tests.fakes.stand_in_job import RUNNER

from tenyson.cli.terminal.progress import BarFollower, choose_follower
from tenyson.cloud.watch.follow import PlainFollower
from tenyson.config.load import parse_config
from tenyson.jobs.job import new_run_id
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.graph.plan import new_pipeline_id
from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.events import MetricsLogged, RunFinished, RunStarted

TENYSON = str(Path(sys.executable).with_name("tenyson"))
GRID = """\
name: seeds
matrix: {seed: [0, 1]}
shared:
  model: {name: nobody/model}
  task: {module: ./a_task.py}
steps:
  - {label: train-with-a-long-name, job: sft, matrix: {training.learning_rate: [3.0e-4, 1.0e-4]}}
"""
TASK = """\
from tenyson.tasks import Sample, TaskPlugin


class ATask(TaskPlugin):
    name = "a"

    def sft_samples(self, split, seed):
        yield Sample(id="1", prompt="a", completion="b")
"""


def call(*arguments, **environment):
    return tenyson(*arguments, env={**os.environ, **environment})


def on_a_terminal(columns, *arguments, raw=False, **environment):
    """What a command prints on a terminal so wide; without its colours, unless it is wanted raw."""
    master, slave = pty.openpty()
    ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    process = subprocess.Popen(
        [TENYSON, *arguments], stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        env={**kept, "TERM": "xterm", **environment},
    )  # fmt: skip
    os.close(slave)
    told = b""
    while True:
        try:
            read = os.read(master, 65536)
        except OSError:  # what Linux answers once nobody holds the other end
            break
        if not read:
            break
        told += read
    process.wait(60)
    os.close(master)
    if raw:
        return told.decode()
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", told.decode().replace("\r\n", "\n"))


@pytest.fixture
def grid(tmp_path, monkeypatch):
    """An experiment of four cells, played by a runner that trains nothing."""
    monkeypatch.chdir(tmp_path)
    Path("exp.yaml").write_text(GRID)
    Path("a_task.py").write_text(TASK)
    Path("tenyson.yaml").write_text(f"backend: {{local: {{runner: {json.dumps(list(RUNNER))}}}}}\n")
    return tmp_path


CELLS = [
    f"train-with-a-long-name-seed{seed}-learning_rate{rate}" for seed in (0, 1) for rate in (0.0003, 0.0001)
]


@pytest.mark.parametrize("columns", ["1", "7"])
def test_a_terminal_of_hardly_any_columns_is_no_error(grid, columns):
    """As some panes and CI systems say; the text is then wider than the terminal."""
    done = call("run", "exp.yaml", "--dry-run", COLUMNS=columns)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_the_cells_of_a_grid_can_be_told_apart_in_a_pipe_and_on_a_terminal(grid):
    """Of the plan, the results, the steps and the runs: every name is there in full, and no line is too wide."""
    texts = [call("run", "exp.yaml", "--dry-run").stdout, call("run", "exp.yaml", "--run-id", "p").stdout]
    texts += [on_a_terminal(80, "pipelines", "p")]
    for text in texts:
        assert all(cell in text for cell in CELLS), text
        table = [line for line in text.splitlines() if line.startswith(("    ", *CELLS))]
        assert max(map(len, table)) <= 80
        assert "…" not in text
    piped = call("pipelines", "p").stdout.splitlines()
    assert [line.split()[0] for line in piped if line.startswith("train-")] == CELLS


def test_names_that_are_made_up_are_short_and_unlike(tmp_path):
    """By date and four characters; what has a folder is not taken again."""
    names = {new_pipeline_id("wordle-tiny", tmp_path) for _ in range(50)} | {
        new_run_id("sft", "wordle", tmp_path)
    }
    assert len(names) == 51
    assert all(len(name) <= len("wordle-tiny-261129-kd7w") for name in names)
    assert all(re.fullmatch(r"(wordle-tiny|sft-wordle)-\d{6}-[a-z0-9]{4}", name) for name in names)
    spec = JobSpec("wordle-tiny-261129-kd7w-train", "sft", "t", {})
    said = StringIO()
    PlainFollower(said).started(spec, f"outputs/{spec.run_id}/log.txt")
    assert said.getvalue().count("261129") == 1


def test_a_bar_says_how_long_it_was_and_how_long_it_will_be(monkeypatch):
    """Not a time directly before "left", and neither is cut at 80 columns; the numbers give way."""
    from rich.console import Console

    console = Console(width=80, force_terminal=True, color_system=None, file=StringIO())
    bars = BarFollower(console)
    bars.started(JobSpec("r", "sft", "t", {}), "r/log.txt")

    def event(name, **fields):
        bars.line("@tenyson " + json.dumps({"event": name, **fields}, separators=(",", ":")))

    event("RunStarted", job_type="sft", total_steps=4000)
    for step in (1, 2, 3):
        time.sleep(0.02)
        values = {"loss": 1.2345, "reward": 1.0, "kl": 0.1, "tokens_per_second": 1234.5}
        event("MetricsLogged", phase="sft", step=step, total_steps=4000, values=values)
    task = bars._bars.progress.tasks[0]
    task.start_time -= 23.0
    bars._bars.progress.stop()
    with console.capture() as captured:
        console.print(bars._bars.progress.make_tasks_table([task]))
    line = captured.get().strip()
    assert re.search(r"loss 1\.234\b.* 23 s so far(, about [\d hmins]+ left)?$", line), line
    assert "…" not in line


def test_plain_lines_where_a_terminal_cannot_draw(monkeypatch):
    """TERM=dumb: a bar would be seen once, at the end."""
    monkeypatch.setattr("tenyson.cli.terminal.progress.is_terminal", lambda stream: True)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(choose_follower(), PlainFollower)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(choose_follower(), BarFollower)


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A database with an older and a newer run."""
    monkeypatch.chdir(tmp_path)
    for age, run in ((7200.0, "older"), (60.0, "newer")):
        url = f"sqlite:///{tmp_path}/tenyson_telemetry.db"
        config = parse_config(
            {"model": {"name": "m"}, "run": {"id": run}, "telemetry": {"sinks": ["sql"], "db_url": url}}
        )
        telemetry = open_telemetry(
            config, tmp_path / "outputs" / run, attempt_uid=run.encode().hex().ljust(32, "0")
        )
        at = time.time() - age
        telemetry.emit(
            RunStarted(run_id=run, job_type="sft", task="t", config={}, output_dir=f"outputs/{run}", time=at),
            MetricsLogged(run_id=run, phase="sft", step=1, values={"loss": 1.0}, time=at),
            RunFinished(
                run_id=run, status="success", result={"metrics": {}, "total_time_seconds": 1.0}, time=at
            ),
        )
        telemetry.close()
    return tmp_path


@pytest.mark.parametrize(
    "command", [["show"], ["metrics", "--json"], ["export", "--to", "csv", "--what", "metrics"]]
)
def test_latest_is_the_run_that_started_last(recorded, command):
    """As for pipelines."""
    name, *options = command
    told = call(name, "latest", *options)
    assert told.returncode == 0, told.stderr
    assert "newer" in told.stdout
    assert "older" not in told.stdout


def test_times_say_their_zone(recorded):
    """One clock, the local one, in every command."""
    for command in (["runs"], ["show", "newer"], ["lineage", "newer"]):
        told = call(*command, TZ="Asia/Tokyo").stdout
        assert re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)? JST", told), told


def test_help_has_groups_and_names_that_others_use_lead_to_ours():
    """`list` and `status` are told where to look, and a near miss of them, too."""
    told = call("--help").stdout
    headings = re.findall(r"^(\S.*):$", told, re.MULTILINE)
    assert {"Start and continue", "Inspect pipelines", "Inspect runs", "Control a run"} <= set(headings)
    for name, place in (
        ("list", "tenyson runs"),
        ("status", "tenyson pipelines latest"),
        ("statu", "tenyson show"),
    ):
        done = call(name)
        assert done.returncode == 2
        assert place in done.stderr
