"""One controller with many runs: seconds until all are started, its memory, and what it takes of a core while they run.

    python benchmarks/controller.py --runs 1000

The runs are files (tests/fakes/file_backend.py): they take no process, so that what is measured is the controller.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "fakes"))

from file_backend import FileBackend

from tenyson.cloud.watch.follow import PlainFollower
from tenyson.jobs.spec import JobSpec
from tenyson.pipeline.control.launcher import BackendLauncher
from tenyson.pipeline.control.session import Session
from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.graph.policy import FailurePolicy
from tenyson.pipeline.journal.journal import Journal
from tenyson.pipeline.pipeline import Pipeline
from tenyson.pipeline.request import PipelineRequest


def control(url: str, folder: Path, runs: int) -> None:
    """In the child: drive all runs at once."""
    out = os.open(folder / "controller.log", os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    with Journal(url) as journal:
        Pipeline.open(journal, "many").drive(
            BackendLauncher(FileBackend(folder), PlainFollower()),
            Session(ask=lambda _: None),
            request=PipelineRequest(FailurePolicy("abort"), runs),
        )


def cpu_seconds(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def most_memory(pid: int) -> float:
    """Peak resident memory, MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1000


def main() -> None:
    """Measure once and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--idle-seconds", type=float, default=20.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        url = f"sqlite:///{folder}/journal.db"
        steps = {}
        for number in range(options.runs):
            label = f"run{number}"
            config = {
                "run": {"id": label, "output_dir": str(folder / "outputs")},
                "task": {"args": {"seconds": 600}},
            }
            steps[label] = Definition(label, JobSpec(label, "sft", "none:None", config)).to_json()
        with Journal(url) as journal:
            journal.create("many", "many", "many", {}, steps)
            begun = time.monotonic()
            pid = os.fork()
            if pid == 0:
                try:
                    control(url, folder, options.runs)
                finally:
                    os._exit(1)
            try:
                while sum(step.state == "RUNNING" for step in journal.steps("many")) < options.runs:
                    if time.monotonic() - begun > 300:
                        raise SystemExit("the runs were not all started within 300 s")
                    time.sleep(0.5)
                started, worked = time.monotonic() - begun, cpu_seconds(pid)
                time.sleep(2)
                before = cpu_seconds(pid)
                time.sleep(options.idle_seconds)
                share = (cpu_seconds(pid) - before) / options.idle_seconds
                print(
                    json.dumps(
                        {
                            "runs": options.runs,
                            "all running after s": round(started, 1),
                            "processor s until then": round(worked, 1),
                            "peak MB": round(most_memory(pid)),
                            "share of a core while they run": round(share, 3),
                        }
                    )
                )
            finally:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
