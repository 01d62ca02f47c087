"""Making a job's environment on a machine: one installer at a time, and uv is had from somewhere or that is said."""

import subprocess
import time
from importlib.resources import files
from pathlib import Path

import pytest

from tenyson.cloud.remote.ssh import machine as scripts

SCRIPT = files(scripts).joinpath("install.sh")
UV = """#!/bin/sh
echo "$1" >>{log}
case $1 in
venv) for last; do :; done; mkdir -p "$last/bin"; touch "$last/bin/python" ;;
pip) sleep {seconds}; touch "${{5%/bin/python}}/package" ;;
esac
"""
PIP = """#!/bin/sh
echo "$*" >>{log}
mkdir -p "$6/bin"
cp {folder}/real-uv "$6/bin/uv"
"""


@pytest.fixture
def machine(tmp_path):
    """A machine's folder, with tools of its own and no uv."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "bundle").mkdir()
    return tmp_path


def tool(machine, name, text, **more):
    path = machine / name
    path.write_text(text.format(log=machine / "log", folder=machine, **more))
    path.chmod(0o755)


def begin(machine):
    return subprocess.Popen(
        ["sh", str(SCRIPT), str(machine / "home/envs/key"), str(machine / "bundle"), "3.12"],
        env={"PATH": f"{machine}/tools:/usr/bin:/bin", "HOME": str(machine)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def end(installer):
    out, err = installer.communicate(timeout=30)
    return installer.returncode, out.strip(), err


def log(machine):
    return (machine / "log").read_text().split() if (machine / "log").exists() else []


def wait_for_the_installation(machine):
    deadline = time.monotonic() + 20
    while log(machine) != ["venv", "pip"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_a_second_installer_waits_for_the_first_and_takes_its_work(machine):
    """As after a connection that broke: the first goes on, and the second must not clear away what it makes."""
    tool(machine, "tools/uv", UV, seconds=2)
    first = begin(machine)
    wait_for_the_installation(machine)
    second = begin(machine)
    assert [end(one)[:2] for one in (first, second)] == [(0, "installed"), (0, "cached")]
    assert log(machine) == ["venv", "pip"]


@pytest.mark.slow
def test_what_a_killed_installer_left_running_is_waited_for_and_its_half_is_made_anew(machine):
    """uv is a process of its own: it may outlive the script."""
    tool(machine, "tools/uv", UV, seconds=2)
    first = begin(machine)
    wait_for_the_installation(machine)
    first.kill()
    began = time.monotonic()
    assert end(begin(machine))[:2] == (0, "installed")
    assert time.monotonic() - began > 2.5
    assert log(machine) == ["venv", "pip", "venv", "pip"]


def test_where_the_download_of_uv_fails_pip_is_tried_with_the_tested_version(machine):
    """A download that fails leaves an empty script, and an empty script succeeds."""
    tool(machine, "tools/curl", "#!/bin/sh\nexit 22\n")
    tool(machine, "real-uv", UV, seconds=0)
    tool(machine, "tools/python3", PIP)
    assert end(begin(machine))[:2] == (0, "installed")
    constraints = Path(__file__).parents[2].joinpath("constraints.txt").read_text().split()
    assert next(line for line in constraints if line.startswith("uv==")) in log(machine)


def test_where_uv_is_nowhere_to_be_had_that_is_said(machine):
    """With what to look at."""
    for name in ("curl", "python3"):
        tool(machine, f"tools/{name}", "#!/bin/sh\nexit 1\n")
    code, _, said = end(begin(machine))
    assert code == 1
    assert "could be had neither from astral.sh nor by pip: has the machine a way to the internet" in said
