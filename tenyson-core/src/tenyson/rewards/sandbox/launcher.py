"""The first thing in a program's process: takes on the limits, isolates itself, then runs the program.

It runs by its path, without site-packages, so that a test takes little more than Python's own start. Standard output is the
program's. The parent reads the file of the verdict: "ready" once the limits hold, then a token that the program does not know
once it has come to its end.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any


def main() -> None:
    """Run the job that file descriptor `argv[1]` holds, and report to descriptor `argv[2]`."""
    job_file, verdict, source = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    with open(job_file, encoding="utf-8") as file:
        job = json.load(file)
    try:
        _limit(job)
        if job["isolated"]:
            sys.path.insert(0, source)
            from tenyson.rewards.sandbox.isolation import isolate

            sys.path.remove(source)
            isolate(job["readable"], ".")
    except Exception as error:
        os.write(verdict, f"{type(error).__name__}: {error}".encode())
        os._exit(1)
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tenyson", "ctypes")]:
        del sys.modules[name]
    sys.argv = ["solution.py"]
    os.write(verdict, b"ready\n")
    try:
        _run(job["program"], job["test"])
    except SystemExit as error:
        _leave(0 if job["test"] is None and error.code in (None, 0) else 1)
    except BaseException:
        _leave(1)
    os.write(verdict, job["token"].encode())
    _leave(0)


def _limit(job: dict[str, Any]) -> None:
    for limit, value in (
        (resource.RLIMIT_CPU, job["seconds"]),
        (resource.RLIMIT_AS, job["memory"]),
        (resource.RLIMIT_FSIZE, job["disk"]),
        (resource.RLIMIT_NOFILE, job["open_files"]),
        (resource.RLIMIT_CORE, 0),
    ):
        if limit == resource.RLIMIT_AS and sys.platform == "darwin":  # which refuses this one
            continue
        hard = resource.getrlimit(limit)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(limit, (value, value))


def _run(program: str, test: str | None) -> None:
    # A program that reads its input is one; a solution that is tested is imported by its test.
    space: dict[str, Any] = {
        "__name__": "__main__" if test is None else "solution",
        "__builtins__": __builtins__,
    }
    exec(compile(program, "solution.py", "exec", dont_inherit=True), space)
    if test is not None:
        exec(compile(test, "test.py", "exec", dont_inherit=True), space)


def _leave(status: int) -> None:
    """End at once: exit handlers and threads of the program run no further."""
    try:
        sys.stdout.flush()
    except Exception:
        status = 1
    os._exit(status)


if __name__ == "__main__":
    main()
