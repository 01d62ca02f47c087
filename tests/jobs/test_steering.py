"""Steering real jobs from other processes: pause, resume, checkpoint, extend, stop; by SQL, command and file; on two ranks."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tenyson.jobs.checkpoints.publication import check

pytestmark = pytest.mark.train

TASK = Path(__file__).parents[1] / "tasks" / "echo_task.py"
ENDLESS = 100_000
WITHIN_SECONDS = 2.0
"""A command is applied within this time and one step."""
TENYSON = Path(sys.executable).with_name("tenyson")


class Steered:
    """A running job, its database and its folder."""

    def __init__(self, folder: Path, job: str, *, ranks: int = 1, database: bool = True, **sections) -> None:
        self.folder = folder
        self.db_url = f"sqlite:///{folder}/t.db"
        self.run_dir = folder / "outputs" / "run-1"
        training = {"max_steps": ENDLESS, "batch_size": 8, "num_generations": 4, "save_total_limit": None}
        config = {
            "run": {"id": "run-1", "output_dir": str(folder / "outputs")},
            "model": {"factory": "tenyson.testing.tiny:build"},
            "generation": {"max_new_tokens": 4, "engine": "transformers"},
            "telemetry": {"db_url": self.db_url} if database else {},
            "training": training | sections.pop("training", {}),
            **sections,
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        self.command = [
            "-m", "tenyson.runner", "--job-type", job, "--config", "config.yaml", "--task-module", str(TASK),
        ]  # fmt: skip
        self.ranks = ranks
        self.start()

    def start(self, *more: str) -> None:
        launcher = [sys.executable]
        if self.ranks > 1:
            launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={self.ranks}"]
        self.log = self.folder / "log"
        environ = os.environ | {"TENYSON_CACHE": str(self.folder / "cache")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*launcher, *self.command, *more],
                cwd=self.folder,
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def sql(self, query, *values):
        with closing(sqlite3.connect(self.folder / "t.db", timeout=30)) as connection, connection:
            return connection.execute(query, values).fetchall()

    def wait_for(self, condition, seconds=120.0):
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process.poll() is not None and self.process.returncode:
                pytest.fail(self.log.read_text())
            try:
                if found := condition():
                    return found
            except sqlite3.OperationalError:
                pass
            time.sleep(0.05)
        pytest.fail(f"it took more than {seconds} s\n" + self.log.read_text()[-3000:])

    def steps(self):
        return self.sql("SELECT coalesce(max(step), 0) FROM metric_records")[0][0]

    def ask(self, verb, *arguments):
        """By the command line; returns the step at which it was applied, and how long that took."""
        before = self.sql("SELECT max(id) FROM run_controls")[0][0]
        done = subprocess.run(
            [TENYSON, verb, "run-1", *map(str, arguments), "--db-url", self.db_url],
            cwd=self.folder, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert f"{verb} requested" in done.stdout
        return self.applied(verb, before)

    def applied(self, verb, before):
        query = (
            "SELECT applied_step, applied_at - requested_at FROM run_controls "
            "WHERE verb = ? AND status = 'applied' AND id > ?"
        )
        return self.wait_for(lambda: self.sql(query, verb, before))[0]

    def finish(self):
        assert self.process.wait(timeout=240) == 0, self.log.read_text()
        return json.loads((self.run_dir / "results.json").read_text())

    def is_complete(self, step):
        folder = self.run_dir / "checkpoints" / f"step-{step}"
        state = json.loads((folder / "trainer_state.json").read_text())
        return state["global_step"] == step and check(folder) is None


@pytest.fixture
def steered(tmp_path):
    started = []

    def start(job, **options):
        started.append(Steered(tmp_path, job, **options))
        return started[-1]

    yield start
    for job in started:
        # torchrun's own processes too, which have sessions of their own.
        for pid in (*children(job.process.pid), job.process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        job.process.wait()


def children(pid):
    """Processes that a process has started, and theirs."""
    try:
        own = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []
    return [each for child in map(int, own) for each in (child, *children(child))]


@pytest.mark.parametrize(("job", "ranks"), [("sft", 1), ("rl", 2)])
def test_every_command_is_applied_within_two_seconds_and_a_step(steered, job, ranks):
    """On one process, and on two ranks under torchrun, which do the same at the same step."""
    run = steered(job, ranks=ranks)
    run.wait_for(lambda: run.steps() > 3)
    longest = run.sql("SELECT max(created_at) - min(created_at) FROM metric_records")[0][0] / run.steps()
    seconds = {}
    saved, seconds["checkpoint"] = run.ask("checkpoint")
    run.wait_for(lambda: (run.run_dir / "checkpoints" / f"step-{saved}").is_dir())
    assert run.is_complete(saved)
    paused, seconds["pause"] = run.ask("pause")
    # The numbers of a step are logged after its boundary.
    run.wait_for(lambda: run.steps() >= paused - 1)
    time.sleep(1.5)
    held = run.steps()
    time.sleep(1.0)
    assert paused - 1 <= held == run.steps() <= paused
    resumed, seconds["resume"] = run.ask("resume")
    assert resumed == paused
    run.wait_for(lambda: run.steps() > paused)
    extended, seconds["extend"] = run.ask("extend", 5)
    stopped, seconds["stop"] = run.ask("stop")
    results = run.finish()
    print(
        f"\n{job} on {ranks}: { ({verb: round(value, 2) for verb, value in seconds.items()}) }, step {longest:.3f} s"
    )
    # A command that is just starting took its time before; where cores are shared, either side may wait for one.
    assert max(seconds.values()) <= WITHIN_SECONDS + longest + 2.0
    assert saved < paused < extended <= stopped
    assert results["metadata"]["stop_reason"] == "manual stop"
    assert results["metadata"]["steps"] == stopped
    assert run.is_complete(stopped)
    total = run.sql("SELECT exit_reason, began_at_step, processes FROM attempts")
    assert total == [("manual stop", 0, ranks)]
    assert f"training ends at step {ENDLESS + 5}" in run.log.read_text()
    if job == "rl":
        by_rank = run.sql("SELECT rank, count(*) FROM spools GROUP BY rank ORDER BY rank")
        assert by_rank == [(0, 1), (1, 1)]
        # Both ranks' rollouts of each step, 8 of each.
        assert run.sql("SELECT DISTINCT n FROM (SELECT count(*) AS n FROM rollouts GROUP BY step)") == [(16,)]


def test_an_extended_run_trains_that_many_steps_more_also_after_a_resume(steered):
    """The learning rate falls to its end over the new total, and a resumed attempt knows that total."""
    run = steered("sft", training={"max_steps": 400, "learning_rate": 0.001})
    # Asked while the job still loads: a step takes milliseconds, and training would end before a command is typed.
    [[listens]] = run.wait_for(lambda: run.sql("SELECT id FROM run_controls"))
    run.sql("INSERT INTO run_controls (run_id, verb) VALUES ('run-1', 'pause')")
    paused, _ = run.applied("pause", listens)
    run.wait_for(lambda: run.sql("SELECT 1 FROM runs"))
    run.sql("INSERT INTO run_controls (run_id, verb, argument) VALUES ('run-1', 'extend', 50)")
    run.wait_for(lambda: run.sql("SELECT 1 FROM run_controls WHERE verb = 'extend' AND status = 'accepted'"))
    stopped, _ = run.ask("stop")
    run.finish()
    assert stopped == paused
    run.start("--resume-from-checkpoint", "latest")
    results = run.finish()
    assert results["metadata"]["steps"] == 450
    rates = run.sql(
        "SELECT step, learning_rate FROM sft_metrics WHERE learning_rate IS NOT NULL ORDER BY step"
    )
    assert rates[-1][0] == 450
    # Of a linear schedule over 450 steps, row n shows the rate of step n.
    for step, rate in rates[-40:]:
        assert rate == pytest.approx(0.001 * (451 - step) / 450, rel=1e-6)
    assert [step for step, _ in rates] == list(range(1, 451))
    assert run.sql("SELECT attempt, began_at_step FROM attempts ORDER BY attempt") == [(1, 0), (2, stopped)]


def test_without_a_database_a_file_steers_the_run_and_that_of_an_earlier_attempt_does_not(steered, tmp_path):
    """One verb a line; what became of each stands beside it. What lies there when the attempt begins is moved aside."""
    (tmp_path / "outputs" / "run-1").mkdir(parents=True)
    (tmp_path / "outputs" / "run-1" / "control").write_text("stop\n")
    run = steered("sft", database=False)
    run.wait_for(
        lambda: (
            (run.run_dir / "events.jsonl").exists()
            and "MetricsLogged" in (run.run_dir / "events.jsonl").read_text()
        )
    )
    assert (run.run_dir / "control.expired").read_text() == "stop\n"
    (run.run_dir / "control").write_text("checkpoint\njump 7\n")
    answers = run.run_dir / "control.read"
    run.wait_for(lambda: answers.exists() and "checkpoint: applied at step" in answers.read_text())
    assert "jump: rejected: there is no jump" in answers.read_text()
    done = subprocess.run(
        [TENYSON, "stop", "run-1", "--output-dir", run.run_dir.parent],
        cwd=run.folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "requested by the file" in done.stdout
    assert run.finish()["metadata"]["stop_reason"] == "manual stop"
    assert not (run.run_dir / "control").exists()


def test_a_stop_during_a_save_leaves_a_complete_checkpoint(steered):
    """A checkpoint at every step, so that the stop nearly always meets one; then the run goes on from it."""
    run = steered("sft", training={"save_steps": 1, "save_total_limit": 2})
    run.wait_for(lambda: run.steps() > 3)
    stopped, _ = run.ask("stop")
    run.finish()
    latest = (run.run_dir / "checkpoints" / "LATEST").read_text().strip()
    assert latest == f"step-{stopped}"
    assert run.is_complete(stopped)
    run.start("--resume-from-checkpoint", "latest")
    run.wait_for(lambda: run.steps() > stopped)
    again, _ = run.ask("stop")
    assert again > stopped
    run.finish()


def test_an_evaluation_pauses_between_batches_and_refuses_what_it_cannot_do(steered):
    """It can be stopped, paused and resumed; there is no step to add and nothing to save."""
    run = steered("eval", evaluation={"batch_size": 1, "samples": 64, "samples_per_prompt": 60})
    run.wait_for(lambda: run.steps() > 3)
    paused, _ = run.ask("pause")
    run.wait_for(lambda: run.steps() >= paused)
    time.sleep(1.0)
    assert run.steps() == paused
    for verb in ("checkpoint", "extend"):
        run.sql("INSERT INTO run_controls (run_id, verb, argument) VALUES ('run-1', ?, 3)", verb)
    refused = "SELECT verb, reason FROM run_controls WHERE status = 'rejected' ORDER BY id"
    run.wait_for(lambda: len(run.sql(refused)) == 2)
    assert run.sql(refused) == [
        ("checkpoint", "a job of kind eval cannot checkpoint"),
        ("extend", "a job of kind eval cannot extend"),
    ]
    run.ask("resume")
    stopped, _ = run.ask("stop")
    results = run.finish()
    assert results["metadata"]["stopped_early"] is True
    assert results["metadata"]["rollouts"] == stopped
    assert run.sql("SELECT count(*) FROM generations WHERE phase = 'eval'") == [(stopped,)]
