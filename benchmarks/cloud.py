"""How long it takes from a launch to the first training step on a rented machine, part by part, and how fast files travel.

    python benchmarks/cloud.py

Against the stand-in for EC2 of the tests (real sshd in a namespace, real uv, real training on the CPU), so that what is measured is
Tenyson's own part: the real AWS adds its boot, and the network its distance. Needs root.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.fakes.ec2.client import StandIn

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))

SMALL_FILES = 1000
REPEATS = 5
STAGES = {
    "launched": "launch call answered",
    "running": "AWS says running",
    "host key": "host key on its console",
    "connected": "SSH connected",
    "shipped": "wheels and tools sent",
    "installed": "environment installed",
    "inputs sent": "inputs sent",
    "job started": "job's process started",
}


def main() -> int:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TENYSON_TEST_UV_CACHE"] = str(Path(folder) / "uv")
        # Reads the variable when it is imported.
        from tests.fakes.ec2.client import StandIn, missing

        if (lacks := missing()) is not None:
            print(f"the stand-in cannot run here: {lacks}")
            return 2
        ec2 = StandIn(Path(folder) / "ec2")
        os.environ.update(ec2.environment)
        try:
            first_steps(ec2, Path(folder))
            files(ec2, Path(folder))
        finally:
            ec2.close()
    return 0


def first_steps(ec2: StandIn, folder: Path) -> None:
    """Launch to first step, with an empty cache of packages and with a full one."""
    from tenyson.cloud.manager import CloudManager
    from tenyson.jobs.sft import SFTJob
    from tenyson.tasks.load import load_task
    from tenyson_aws.backend import AWSBackend

    columns = {}
    for name in ("cold", "warm"):
        config = {
            "run": {"id": name, "output_dir": str(folder / "outputs")},
            "model": {
                "factory": "tenyson_wordle.tiny:build",
                "factory_args": {"layers": 2, "width": 128, "heads": 4, "intermediate": 256},
            },
            "task": {
                "name": "wordle",
                "args": {"words": "tiny", "style": "compact", "sft_games": 256, "sft_eval_games": 16},
            },
            "training": {"max_steps": 2, "batch_size": 8, "max_length": 128},
        }
        job = SFTJob(config, load_task("wordle"))
        backend = AWSBackend(output_dir=str(folder / "outputs"), **ec2.settings)
        backend.validate(job.spec())  # builds wheels, which is done once for each state of the sources
        result = CloudManager(backend).run(job)
        assert result.status == "success", result.failure_reason
        backend.close()
        record = json.loads((folder / "outputs" / name / "machine.json").read_text())
        times = {"launched": record["launched_at"], **record["times"]}
        events = [
            json.loads(line) for line in (folder / "outputs" / name / "events.jsonl").read_text().splitlines()
        ]
        first = next(event["time"] for event in events if event["event"] == "MetricsLogged")
        columns[name] = {stage: times[stage] - record["created_at"] for stage in STAGES} | {
            "step": first - record["created_at"]
        }
    print(f"{'seconds since the call of submit':36s}{'cold':>8s}{'warm':>8s}")
    for stage, words in {**STAGES, "step": "first training step"}.items():
        print(f"{words:36s}{columns['cold'][stage]:8.1f}{columns['warm'][stage]:8.1f}")


def files(ec2: StandIn, folder: Path) -> None:
    """Small files in both directions, and a poll at which nothing has changed; medians."""
    from tenyson.cloud.remote.mirror import Mirror
    from tenyson.cloud.remote.ssh.connection import Connection
    from tenyson.cloud.remote.ssh.transfer import poll, send, send_tools
    from tenyson.jobs.spec import JobSpec
    from tenyson_aws.backend import AWSBackend
    from tenyson_aws.ec2.access import find_key
    from tenyson_aws.ec2.instance import Instance
    from tenyson_aws.ec2.launch import Launcher
    from tenyson_aws.record import MachineRecord

    backend = AWSBackend(**ec2.settings)
    record = MachineRecord(
        "aws", "files", vars(JobSpec("files", "sft", "none:None", {})), {}, str(folder), time.time()
    )
    Launcher(backend.clients, backend._settings, lambda _: None).launch(record, folder)
    instance = Instance(backend.clients, record.instance_id, time.time())
    while not (keys := instance.host_keys()):
        time.sleep(0.1)
    connection = Connection(
        instance.poll().address,
        port=2222,
        user="root",
        key=find_key(backend.clients, backend._settings).path,
        host_keys=keys,
    )
    source = folder / "small"
    source.mkdir()
    for number in range(SMALL_FILES):
        (source / f"{number:04d}.txt").write_bytes(os.urandom(1024))
    connection.run(["mkdir", "-p", "/run/tenyson", "/srv/job"])
    send_tools(connection)
    sent = median(lambda number: send(connection, [(source, f"/srv/job/sent-{number}")]))
    connection.run(["sh", "-c", "rm -rf /srv/job/*"])
    fetched, unchanged = [], []
    for number in range(REPEATS):
        send(connection, [(source, f"/srv/job/set-{number}")])
        here = folder / f"here-{number}"
        here.mkdir()
        mirror, there = Mirror(here), f"/srv/job/set-{number}"
        fetched.append(timed(lambda mirror=mirror, there=there: poll(connection, mirror, there)))
        unchanged.append(timed(lambda mirror=mirror, there=there: poll(connection, mirror, there)))
    connection.close()
    instance.terminate(lambda _: None)
    print()
    print(f"{SMALL_FILES} files of 1 KiB, medians of {REPEATS}")
    print(f"  sent there          {sent:6.2f} s   (bar 1 s)")
    print(f"  fetched             {statistics.median(fetched):6.2f} s   (bar 1 s)")
    print(f"  nothing has changed {statistics.median(unchanged):6.2f} s   (bar 0.3 s)")


def median(work: Callable[[int], None]) -> float:
    """Of `REPEATS` calls."""
    return statistics.median(timed(lambda number=number: work(number)) for number in range(REPEATS))


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


if __name__ == "__main__":
    sys.exit(main())
