"""Locales and odd terminals: what an encoding lacks is replaced, and `--json` is JSON whatever else prints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tenyson.config.load import parse_config
from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.events import MetricsLogged, RolloutFinished, RunFinished, RunStarted

TENYSON = str(Path(sys.executable).with_name("tenyson"))
EXPERIMENT = """\
name: zwei
shared:
  model: {name: nobody/model}
  task: {module: ./a_task.py}
steps:
  - {label: first, job: sft}
  - {label: second, job: sft}
"""
TASK = """\
import os
from tenyson.tasks import Sample, TaskPlugin

print("a task that prints when it is imported ✓ ü")
os.system("echo and a child of it")


class ATask(TaskPlugin):
    name = "a"

    def __init__(self, **arguments):
        super().__init__(**arguments)
        print("and when it is made")

    def sft_samples(self, split, seed):
        yield Sample(id="1", prompt="a", completion="b")
"""


def call(*arguments, **environment):
    return subprocess.run(
        [TENYSON, *arguments], capture_output=True, timeout=60, stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An experiment whose task prints, and a database with a rollout beyond latin-1."""
    monkeypatch.chdir(tmp_path)
    Path("exp.yaml").write_text(EXPERIMENT)
    Path("a_task.py").write_text(TASK, encoding="utf-8")
    url = f"sqlite:///{tmp_path}/tenyson_telemetry.db"
    config = parse_config(
        {"model": {"name": "m"}, "run": {"id": "r"}, "telemetry": {"sinks": ["sql"], "db_url": url}}
    )
    telemetry = open_telemetry(config, tmp_path / "outputs/r", attempt_uid="0" * 32)
    telemetry.emit(
        RunStarted(run_id="r", job_type="eval", task="grüße → 🎲", config={}, output_dir="outputs/r"),
        MetricsLogged(run_id="r", phase="eval", step=1, values={"loss": 1.0}),
        MetricsLogged(run_id="r", phase="eval", step=2, values={"loss": 0.5}),
        RolloutFinished(
            run_id="r", phase="eval", step=1, sample_id="s", group="g", prompt="p", completion="grüße → 🎲",
            reward=0.0, components={}, tokens=1, training=False, trained=False,
        ),
        RunFinished(run_id="r", status="success", result={"metrics": {}, "total_time_seconds": 1.0}),
    )  # fmt: skip
    telemetry.close()
    return tmp_path


@pytest.mark.parametrize(
    ("encoding", "word"),
    [("latin-1", b"gr\xfc\xdfe ? ?"), ("ascii", b"gr??e ? ?"), ("cp1252", b"gr\xfc\xdfe ? ?")],
)
@pytest.mark.slow
def test_what_an_encoding_lacks_is_replaced(folder, encoding, word):
    """Rollouts, lists, plans with their tree, charts: no stack trace, and status 0."""
    for arguments in (
        ["rollouts", "r", "--full"],
        ["runs"],
        ["show", "r"],
        ["lineage", "r"],
        ["metrics", "r", "--plot"],
        ["run", "exp.yaml", "--dry-run"],
    ):
        done = call(*arguments, PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        if arguments[0] in ("rollouts", "runs"):
            assert word in done.stdout
        if encoding == "ascii":
            assert (done.stdout + done.stderr).isascii()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["run", "exp.yaml", "--dry-run", "--json"], 0),
        (["presets", "./a_task.py", "--json"], 0),
        (["config", "check", "exp.yaml", "--json"], 0),
        (["rollouts", "r", "--json"], 0),
        (["runs", "--json"], 0),
    ],
)
def test_json_is_json_also_when_a_task_prints(folder, arguments, status):
    """What it prints, and what its children print, reaches stderr, in every locale."""
    done = call(*arguments, PYTHONIOENCODING="latin-1")
    assert done.returncode == status, done.stderr
    json.loads(done.stdout)
    if arguments[0] == "run":
        assert b"when it is imported ? \xfc" in done.stderr
        assert b"and a child of it" in done.stderr


def test_an_error_with_odd_letters_is_one_line(folder):
    """A name that is no UTF-8, as a shell hands it over, and one with letters that the terminal lacks."""
    for name in (b"\xff\xfe", "→".encode()):
        for encoding in ("ascii", "utf-8"):
            done = call("show", name, PYTHONIOENCODING=encoding)
            assert done.returncode == 2
            assert done.stderr.startswith(b"error: ")
            assert b"Traceback" not in done.stderr


def test_a_terminal_without_colours_gets_none(folder):
    """TERM=dumb and NO_COLOR, on a real terminal."""
    from tests.cli.test_eighty_columns import on_a_terminal

    for environment in ({"TERM": "dumb"}, {"NO_COLOR": "1"}):
        for arguments in (["runs"], ["show", "nobody"]):
            assert "\x1b" not in on_a_terminal(80, *arguments, raw=True, **environment)
