"""Commands in a forked copy of the test's process: their own streams, signals, folder and exit status, and no imports to wait for.

A new interpreter takes half a second for a command that prints and ten for one that needs torch. Where what is tested is
the command and not how its process starts, a copy does. What the test has patched is patched there, too.
"""

from __future__ import annotations

import atexit
import fcntl
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO


def import_training_libraries() -> None:
    """Here and once, so that no copy has to."""
    import datasets
    import peft
    import torch
    import transformers

    from tenyson.jobs.trainers.trl_import import import_grpo

    import_grpo(vllm=False)
    from trl import SFTTrainer

    assert all((datasets, peft, torch, transformers, SFTTrainer))


def tenyson(
    *words: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    one_stream: bool = False,
) -> subprocess.CompletedProcess[str]:
    """`tenyson WORDS`; like `subprocess.run` with captured text and nothing on standard input.

    `one_stream`: errors come with the output, in order.
    """
    from tenyson.cli.main import main

    return _run(main, ["tenyson", *map(str, words)], cwd, env, timeout, one_stream)


def runner(
    *words: object,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """`python -m tenyson.runner WORDS`, likewise."""
    from tenyson.runner import main

    return _run(main, ["tenyson.runner", *map(str, words)], cwd, env, timeout)


def _run(
    main: Callable[[], object],
    command: list[str],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    timeout: float,
    one_stream: bool = False,
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if not child:
            os._exit(_in_the_child(main, command, cwd, env, out, out if one_stream else err))
        status = _wait(child, command, timeout)
        printed = [_text(stream) for stream in (out, err)]
    return subprocess.CompletedProcess(command, os.waitstatus_to_exitcode(status), *printed)


def _wait(child: int, command: Sequence[str], timeout: float) -> int:
    deadline = time.monotonic() + timeout
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise subprocess.TimeoutExpired(list(command), timeout)
        time.sleep(0.01)


def _text(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode().replace("\r\n", "\n")


def _in_the_child(
    main: Callable[[], object],
    command: list[str],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    out: IO[bytes],
    err: IO[bytes],
) -> int:
    """Make the copy look like a new interpreter, run `main` as a console script does, and return the exit status."""
    try:
        _begin(command, cwd, env, out, err)
        status = _exit_status(main)
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        os.write(2, traceback.format_exc().encode())
        return 120
    return status


def _begin(
    command: list[str], cwd: Path | None, env: Mapping[str, str] | None, out: IO[bytes], err: IO[bytes]
) -> None:
    atexit._clear()
    for number in (signal.SIGALRM, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.set_wakeup_fd(-1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    # A source may lie where another one is to be put: where stdin was closed, the first file opened is 0.
    sources = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 3) for one in (nothing, out.fileno(), err.fileno())]
    for place, source in enumerate(sources):
        os.dup2(source, place)
    sys.stdin = sys.__stdin__ = os.fdopen(0, encoding="utf-8", closefd=False)
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(
        2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    logging.root.handlers.clear()
    # pytest keeps warnings for its summary.
    warnings._showwarnmsg_impl = lambda told: sys.stderr.write(  # type: ignore[attr-defined]
        warnings.formatwarning(told.message, told.category, told.filename, told.lineno)
    )
    for category in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", category)
    if env is not None:
        os.environ.clear()
        os.environ.update(env)
        time.tzset()
    if cwd is not None:
        os.chdir(cwd)
    sys.argv = command


def _exit_status(main: Callable[[], object]) -> int:
    try:
        status = main()
    except SystemExit as told:
        status = told.code
    except BaseException:
        traceback.print_exc()
        return 1
    if status is None or isinstance(status, int):
        return status or 0
    print(status, file=sys.stderr)
    return 1
