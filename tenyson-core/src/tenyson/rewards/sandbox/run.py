"""Runs one program in a process with limits, and says whether it came to its end and what it printed."""

from __future__ import annotations

import contextlib
import json
import math
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tenyson.errors import TaskError

POLL = 0.05
"""Seconds between looks at a program's files; its end is noticed sooner."""
WALL = 3.0
"""A program may take so many times its computing time, plus two seconds, before it counts as asleep."""
_MB = 1 << 20


@dataclass(frozen=True)
class Limits:
    """What a program may use."""

    seconds: float = 5.0
    """Computing time. The clock may show three times as much, and two seconds."""
    memory_mb: int = 1024
    """Address space."""
    disk_mb: int = 32
    """Each file, its output included, and all files of its folder together."""
    files: int = 100
    """Files in its folder."""
    open_files: int = 64
    isolated: bool = True
    """Whether the kernel cuts it off from network, other processes and files; needs Linux."""
    packages: bool = False
    """Whether it may import installed packages."""


@dataclass(frozen=True)
class Outcome:
    """How a program ended."""

    finished: bool
    """It came to its end without an error, within its limits. With a test: all of the test ran."""
    output: str
    """What it printed, cut to the length asked for."""


def run(program: str, limits: Limits, *, test: str | None = None, stdin: str = "", most: int = 0) -> Outcome:
    """Run a program; with a test, as a module whose names the test sees.

    Args:
        stdin: what it reads.
        most: characters of its output that are wanted.

    Raises:
        TaskError: no process can be started, or the kernel refuses to isolate it. Nothing that the program does raises.
    """
    with (
        _folder() as folder,
        tempfile.TemporaryFile() as job,
        tempfile.TemporaryFile() as verdict,
        tempfile.TemporaryFile() as given,
        tempfile.TemporaryFile() as printed,
    ):
        token = secrets.token_hex(16)
        given.write(stdin.encode("utf-8", "replace"))
        given.seek(0)
        job.write(json.dumps(_job(program, test, token, limits)).encode())
        job.seek(0)
        command = [
            sys.executable,
            "-I",
            "-B",
            "-X",
            "utf8",
            *(() if limits.packages else ("-S",)),
            str(_LAUNCHER),
        ]
        command += [str(job.fileno()), str(verdict.fileno()), str(_SOURCE)]
        try:
            process = subprocess.Popen(
                command,
                stdin=given,
                stdout=printed,
                stderr=subprocess.DEVNULL,
                pass_fds=(job.fileno(), verdict.fileno()),
                env={"PATH": os.defpath, "HOME": str(folder), "TMPDIR": str(folder), "OMP_NUM_THREADS": "1"},
                cwd=folder,
                start_new_session=True,
            )
        except OSError as error:
            raise TaskError(f"a program under test cannot be started: {error}") from error
        within = _watch(process, folder, limits)
        verdict.seek(0)
        said = verdict.read(1000)
        if within and not said.startswith(b"ready\n"):
            why = said.decode("utf-8", "replace") or f"its process ended with status {process.returncode}"
            raise TaskError(
                f"a program under test cannot be run with its limits: {why}",
                next_step="Run on Linux with seccomp. code(isolated=False) runs programs that may use network and files.",
            )
        finished = (
            within and process.returncode == 0 and (test is None or said == b"ready\n" + token.encode())
        )
        printed.seek(0)
        return Outcome(finished, printed.read(4 * most + 4).decode("utf-8", "replace")[:most] if most else "")


_LAUNCHER = Path(__file__).with_name("launcher.py")
_SOURCE = Path(__file__).parents[3]


def _job(program: str, test: str | None, token: str, limits: Limits) -> dict[str, object]:
    paths = sysconfig.get_paths()
    readable = {paths["stdlib"], paths["platstdlib"], os.path.realpath(paths["stdlib"])}
    readable |= {str(Path(sys.base_exec_prefix) / name) for name in ("lib", "lib64")}
    if limits.packages:
        readable |= {paths["purelib"], paths["platlib"]}
    system = (
        "/usr/lib",
        "/usr/lib64",
        "/lib",
        "/lib64",
        "/usr/local/lib",
        "/etc/ld.so.cache",
        "/etc/localtime",
    )
    return {
        "program": program,
        "test": test,
        "token": token,
        "seconds": math.ceil(limits.seconds),
        "memory": int(limits.memory_mb * _MB),
        "disk": int(limits.disk_mb * _MB),
        "open_files": limits.open_files,
        "isolated": limits.isolated,
        "readable": sorted({*readable, *system, "/usr/share/zoneinfo"}),
    }


def _watch(process: subprocess.Popen[bytes], folder: Path, limits: Limits) -> bool:
    """Wait for the end; end the process where it leaves its limits. Returns whether it stayed within them."""
    deadline = time.monotonic() + WALL * limits.seconds + 2
    within, pause = True, 0.002
    looked = time.monotonic()
    try:
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            now = time.monotonic()
            if now - looked > POLL:
                looked = now
                within = not _overfull(folder, limits)
            if now > deadline or not within:
                within = False
                break
            time.sleep(pause)
            pause = min(POLL, pause * 1.5)
    finally:
        # The process has not been waited for yet: nobody else can have its number, or that of its group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return within and not _overfull(folder, limits)


def _overfull(folder: Path, limits: Limits) -> bool:
    """Whether there are too many files and folders, or too many bytes. What cannot be looked at counts as too many."""
    count, size, folders = 0, 0, [str(folder)]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    count += 1
                    try:
                        size += entry.stat(follow_symlinks=False).st_blocks * 512
                    except FileNotFoundError:  # removed in the meantime
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    if count > limits.files or size > limits.disk_mb * _MB:
                        return True
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return False


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    try:
        folder = Path(tempfile.mkdtemp(prefix="tenyson-code-"))
    except OSError as error:
        raise TaskError(f"a program under test has no folder to run in: {error}") from error
    try:
        yield folder
    finally:
        with contextlib.suppress(RecursionError):
            shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():  # folders that it made unreadable, or deeper than Python's tool can follow
            for command in (["chmod", "-R", "u+rwX"], ["rm", "-rf"]):
                subprocess.run([*command, str(folder)], stderr=subprocess.DEVNULL, check=False)
