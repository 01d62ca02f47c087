"""Destinations: paths that the user names to be written to behave as with any Unix tool."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from tenyson.cli.main import cli, main
from tenyson.config.load import parse_config
from tenyson.jobs.result import JobResult
from tenyson.telemetry.build import open_telemetry
from tenyson.telemetry.events import MetricsLogged, RolloutFinished, RunStarted

TENYSON = str(Path(sys.executable).with_name("tenyson"))
URL = "sqlite:///./tenyson_telemetry.db"
HEADER = "run_id,attempt,phase,step,epoch,created_at,name,value"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A database with one run of three steps and a rollout."""
    monkeypatch.chdir(tmp_path)
    config = parse_config(
        {"model": {"name": "m"}, "run": {"id": "r"}, "telemetry": {"sinks": ["sql"], "db_url": URL}}
    )
    telemetry = open_telemetry(config, tmp_path / "outputs/r", attempt_uid="0" * 32)
    telemetry.emit(RunStarted(run_id="r", job_type="sft", task="t", config={}, output_dir="outputs/r"))
    for step in (1, 2, 3):
        telemetry.emit(MetricsLogged(run_id="r", phase="sft", step=step, values={"loss": 1 / step}))
    telemetry.emit(
        RolloutFinished(
            run_id="r", phase="eval", step=1, sample_id="s", group="g", prompt="p", completion="half a",
            reward=0.0, components={}, tokens=1, training=False, trained=False,
        )
    )  # fmt: skip
    telemetry.close()
    return tmp_path


def export(*arguments):
    return subprocess.run(
        [TENYSON, "export", "r", "--what", "metrics", "--to", "csv", *arguments], capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_a_fifo_is_written_to_and_stays_one(folder, form):
    """Its reader gets everything, also in a form that a library writes."""
    os.mkfifo("fifo")
    got = []
    reader = threading.Thread(target=lambda: got.append(Path("fifo").read_bytes()))
    reader.start()
    told = CliRunner().invoke(cli, ["export", "r", "--what", "metrics", "--to", form, "-o", "fifo"])
    reader.join(20)
    assert told.exit_code == 0, told.exception
    assert told.output == "fifo: 3 metrics\n"
    assert Path("fifo").is_fifo()
    Path("plain").unlink(missing_ok=True)
    assert main(["export", "r", "--what", "metrics", "--to", form, "-o", "plain"]) == 0
    assert got == [Path("plain").read_bytes()]


@pytest.mark.parametrize("target", ["target", "elsewhere/target"])
def test_a_links_target_is_written_and_the_link_stays(folder, target):
    """Whether the target is there already or not; its permissions stay, too."""
    Path("elsewhere").mkdir()
    if target == "target":
        Path(target).write_text("old")
        Path(target).chmod(0o600)
    Path("link").symlink_to(target)
    assert export("-o", "link").returncode == 0
    assert Path("link").is_symlink()
    assert Path(target).read_text().startswith(HEADER)
    assert target != "target" or Path(target).stat().st_mode & 0o777 == 0o600


def test_a_second_name_of_a_file_sees_the_new_contents(folder):
    """A hard link."""
    Path("one").write_text("old")
    Path("two").hardlink_to("one")
    assert export("-o", "one").returncode == 0
    assert Path("two").read_text().startswith(HEADER)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["-", "/dev/stdout", "/proc/self/fd/1"])
def test_a_dash_is_standard_output(folder, name):
    """The rows alone are there, and what is told goes to stderr; a file that stdout is appended to keeps what it has."""
    done = export("-o", name)
    assert (done.returncode, done.stderr) == (0, f"{name}: 3 metrics\n")
    assert done.stdout.startswith(HEADER)
    assert len(done.stdout.splitlines()) == 4
    subprocess.run(
        ["/bin/sh", "-c", f"(echo before; {TENYSON} export r --to csv --what metrics -o {name}; echo after) > both"],
        check=True, timeout=60, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    lines = Path("both").read_text().splitlines()
    assert (lines[0], lines[1], lines[-1]) == ("before", HEADER, "after")
    assert not Path("-").exists()


@pytest.mark.slow
def test_a_device_is_written_to(folder):
    """/dev/null takes everything; /dev/full is one line and status 2."""
    before = Path("/dev/null").stat()
    assert export("-o", "/dev/null").returncode == 0
    assert Path("/dev/null").stat().st_ino == before.st_ino
    for name in ("/dev/full", "-"):
        command = f"{TENYSON} export r --what metrics --to csv -o {name} > /dev/full"
        done = subprocess.run(["/bin/sh", "-c", command], stderr=subprocess.PIPE, text=True, timeout=60)
        assert done.returncode == 2
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("", "is empty"),
        (".", "this is a folder"),
        ("new/", "this is a folder"),
        ("a-file/x", "Not a directory"),
        ("loop", "Too many levels"),
    ],
)
def test_what_cannot_be_a_file_is_refused_in_one_line(folder, name, says, capsys):
    """An empty name is a variable that the shell does not know; nothing is written."""
    Path("a-file").write_text("mine")
    Path("loop").symlink_to("loop")
    before = sorted(folder.rglob("*"))
    assert main(["export", "r", "--what", "metrics", "--to", "csv", "-o", name]) == 2
    assert says in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


def test_a_tilde_is_the_home(folder, monkeypatch):
    """No shell fills it in after `--output=`; a folder called ~ is what nobody wants."""
    monkeypatch.setenv("HOME", str(folder / "home"))
    assert main(["export", "r", "--what", "metrics", "--to", "csv", "--output=~/out.csv"]) == 0
    assert Path("home/out.csv").read_text().startswith(HEADER)
    assert main(["export", "r", "--to", "csv", "-o", "~nobody-of-that-name/x"]) == 2
    assert not list(folder.glob("~*"))


def test_an_export_that_fails_leaves_the_old_file_and_no_draft(folder):
    """There is nothing to export; a neighbour called .part is nobody's draft."""
    Path("out").write_text("old")
    Path("out.part").write_text("mine")
    assert main(["export", "nobody", "--to", "csv", "-o", "out"]) == 2
    assert main(["export", "r", "--to", "jsonl", "-o", "out"]) == 0
    assert json.loads(Path("out").read_text())["completion"] == "half a"
    assert Path("out.part").read_text() == "mine"
    assert not list(folder.glob(".out*"))


def test_a_result_is_saved_through_a_link_and_into_a_fifo(folder):
    """As Python's own open() would."""
    result = JobResult("r", "success", 1.0)
    Path("target").write_text("old")
    Path("link").symlink_to("target")
    result.save("link")
    assert Path("link").is_symlink()
    assert JobResult.load("target") == result
    result.save("/dev/null")
    assert Path("/dev/null").is_char_device()


def test_a_report_is_no_single_file(pipeline_of_two, capsys):
    """A name of a file is refused before a folder of that name is made."""
    for name in ("report.pdf", "report.md"):
        assert main(["report", "--to", name]) == 2
        assert f"{name} looks like a file" in capsys.readouterr().err
        assert not Path(name).exists()


def test_a_report_goes_to_standard_output_or_into_a_folder(pipeline_of_two, capsys):
    """`--to -` prints report.md; a fifo gets it; what is no folder is refused."""
    assert main(["report", "--to", "-"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("# ")
    assert main(["report", "--to", "new/folder"]) == 0
    assert Path("new/folder/report.md").read_text() == printed
    assert main(["report", "--to", "/dev/null"]) == 0
    assert Path("/dev/null").is_char_device()
    capsys.readouterr()
    Path("a-file").write_text("mine")
    for name, says in (("", "is empty"), ("a-file", "is a file")):
        assert main(["report", "--to", name]) == 2
        assert says in capsys.readouterr().err
    assert Path("a-file").read_text() == "mine"
    assert not Path("-").exists()


@pytest.fixture
def pipeline_of_two(tmp_path, monkeypatch):
    """A pipeline that is over, run by a script."""
    from tests.fakes.stand_in_job import RUNNER, StandInJob

    from tenyson.cloud.local.backend import LocalManager
    from tenyson.pipeline import run_pipeline

    monkeypatch.chdir(tmp_path)
    config = {"run": {"output_dir": "outputs"}, "task": {"args": {"do": "crash"}}}
    steps = [("one", config, StandInJob, None)]
    run_pipeline(steps, LocalManager("outputs", runner=RUNNER), "continue", pipeline_id="p")
