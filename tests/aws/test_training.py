"""Real training on the stand-in's machines: real wheels, real SSH, results and telemetry here, secrets nowhere."""

import json
import sqlite3
import threading
import time
from pathlib import Path

import pytest
from tests.aws.test_runs import during
from tests.fakes.trainings import (
    ask_to_stop,
    assert_same_training,
    assert_stopped_as_asked,
    endless_training,
    exact_training,
)
from tests.fakes.wordle_run import likeness, start

from tenyson_aws.record import MachineRecord

pytestmark = [pytest.mark.train, pytest.mark.slow, pytest.mark.timeout(1200)]

CANARY = "hf_canaryCANARYcanaryCANARYcanary00"


class Spy(threading.Thread):
    """Collects every command line on this machine, those in the machines' namespaces among them."""

    def __init__(self):
        super().__init__(daemon=True)
        self.lines = set()
        self.ended = False

    def run(self):
        while not self.ended:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    self.lines.add(path.read_bytes())
                except OSError:
                    continue
            time.sleep(0.05)


def watch_database(path, run, found, process):
    """How many rollouts of a run are here while it runs."""
    while process.poll() is None:
        try:
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
                query = "SELECT status, (SELECT count(*) FROM rollouts r WHERE r.run_id = runs.run_id) FROM runs WHERE run_id LIKE ?"
                found += [row for row in database.execute(query, (run,)) if row[0] == "running"]
        except sqlite3.Error:
            pass
        time.sleep(0.2)


def test_the_tiny_wordle_pipeline_runs_over_aws_and_the_secret_is_nowhere(
    aws, monkeypatch, tmp_path, wordle_here
):
    """Five steps on five machines; what it prints, makes and measures is what it is here; rollouts are here while it runs."""
    monkeypatch.setenv("HF_TOKEN", CANARY)
    (tmp_path / "tenyson.yaml").write_text(json.dumps({"backend": {"aws": aws.ec2.settings}}))
    spy = Spy()
    spy.start()
    process = start(tmp_path, "aws")
    live = []
    watcher = threading.Thread(
        target=watch_database, args=(tmp_path / "tenyson_telemetry.db", "w-rl", live, process), daemon=True
    )
    watcher.start()
    said, _ = process.communicate(timeout=900)
    spy.ended = True
    assert process.returncode == 0, said
    assert aws.ec2.live() == []
    assert "at most 20 times per step (--preemptions)" in said
    launched = [
        one
        for one in aws.ec2.state["machines"].values()
        if one["tags"].get("tenyson:run", "").startswith("w-")
    ]
    assert len(launched) == 5
    assert likeness(said, tmp_path) == wordle_here
    with sqlite3.connect(tmp_path / "tenyson_telemetry.db") as database:
        counts = dict(database.execute("SELECT run_id, count(*) FROM rollouts GROUP BY run_id"))
        steps = [
            row[0]
            for row in database.execute(
                "SELECT step FROM sft_metrics WHERE run_id = 'w-sft' AND loss IS NOT NULL"
            )
        ]
        commits = database.execute("SELECT DISTINCT git_commit IS NULL FROM attempts").fetchall()
    assert counts["w-rl"] >= 4 * 32
    assert counts["w-eval"] == 12
    assert sorted(set(steps)) == [1, 2, 3, 4]
    assert commits == [
        (1,)
    ]  # the project is no repository, and the machine's own folders are none of its business
    assert any(rollouts > 0 for _, rollouts in live), "no rollout was here while the run went on"
    assert (tmp_path / "outputs" / "w" / "report.html").is_file()
    # The secret: on the machines it was in the environment of the job alone.
    needle = CANARY.encode()
    assert not [line for line in spy.lines if needle in line]
    assert any(b"tenyson_aws.machine.start" in line for line in spy.lines)
    assert CANARY not in said
    assert CANARY not in json.dumps(aws.ec2.state)
    left = [
        path
        for path in (*tmp_path.rglob("*"), *aws.ec2.folder.rglob("*"))
        if path.is_file() and needle in path.read_bytes()
    ]
    assert not left


def test_a_spot_notice_in_training_gives_the_curve_of_an_uninterrupted_run_to_the_bit(aws, tmp_path):
    """fp32 on the CPU: every loss of the two attempts on machines together, and the final weights, are those of a run here."""
    database, steps = tmp_path / "t.db", 600
    whole = exact_training("whole", aws.folder, database, steps=steps).run()
    assert whole.status == "success", whole.failure_reason
    manager = aws.manager(None, use_spot=True, max_preemptions=2)
    noticed = []

    def notice(instance):
        noticed.append(time.time())
        aws.ec2.do("notice", instance_id=instance)

    job = exact_training("broken", aws.folder, database, steps=steps)
    broken = during(aws, job, manager, notice, at='"step":60,')
    assert broken.status == "success", broken.failure_reason
    first = json.loads((aws.folder / "broken" / "earlier" / "1" / "stopped.json").read_text())
    assert first["reason"] == "spot notice"
    assert first["time"] - noticed[0] < 30
    assert_same_training(aws.folder, database, steps)
    machines = [MachineRecord.load(aws.folder / "broken" / place).instance_id for place in ("earlier/1", ".")]
    assert machines[0] != machines[1]


def test_a_stop_that_is_asked_for_here_is_obeyed_there(aws, tmp_path):
    """`tenyson stop` writes a row; the machine has no database; the job stops and the row says at which step."""
    database = tmp_path / "t.db"
    job = endless_training("asked", aws.folder, database)
    result = during(aws, job, aws.manager(None), lambda _: ask_to_stop("asked", database), at='"step":50,')
    assert_stopped_as_asked(result, database)
