"""Real training in the stand-in's containers: real wheels, real image layers, results and telemetry here, secrets nowhere."""

import json
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.aws.test_training import CANARY, Spy, watch_database
from tests.fakes.wordle_run import STEPS, likeness, start

from tenyson.jobs.sft import SFTJob
from tenyson.tasks.load import load_task

pytestmark = [pytest.mark.train, pytest.mark.slow, pytest.mark.timeout(500)]


def test_the_tiny_wordle_pipeline_runs_over_modal_and_the_secret_is_nowhere(
    modal, monkeypatch, tmp_path, wordle_here
):
    """Five steps in five apps; what it prints, makes and measures is what it is here; rollouts are here while it runs."""
    monkeypatch.setenv("HF_TOKEN", CANARY)
    (tmp_path / "tenyson.yaml").write_text(json.dumps({"backend": {"modal": modal.settings}}))
    spy = Spy()
    spy.start()
    process = start(tmp_path, "modal")
    live = []
    watcher = threading.Thread(
        target=watch_database, args=(tmp_path / "tenyson_telemetry.db", "w-rl", live, process), daemon=True
    )
    watcher.start()
    said, _ = process.communicate(timeout=450)
    spy.ended = True
    assert process.returncode == 0, said
    assert modal.live() == []
    assert likeness(said, tmp_path) == wordle_here
    for step in STEPS:
        assert (modal.kept(f"w-{step}") / "results.json").is_file()
    with sqlite3.connect(tmp_path / "tenyson_telemetry.db") as database:
        counts = dict(database.execute("SELECT run_id, count(*) FROM rollouts GROUP BY run_id"))
        query = "SELECT step FROM sft_metrics WHERE run_id = 'w-sft' AND loss IS NOT NULL"
        steps = [row[0] for row in database.execute(query)]
    assert counts["w-rl"] >= 4 * 32
    assert counts["w-eval"] == 12
    assert sorted(set(steps)) == [1, 2, 3, 4]
    assert any(rollouts > 0 for _, rollouts in live), "no rollout was here while the run went on"
    assert (tmp_path / "outputs" / "w" / "report.html").is_file()
    # The secret: Modal holds it as a secret, and the job's environment.
    needle = CANARY.encode()
    assert not [line for line in spy.lines if needle in line]
    assert any(b"tenyson.runner" in line for line in spy.lines)
    assert CANARY not in said
    places = (*tmp_path.rglob("*"), *modal.cloud.stored())
    assert not [path for path in places if path.is_file() and needle in path.read_bytes()]
    kept = [modal.cloud.apps(), modal.cloud.calls(), modal.cloud.containers(), modal.cloud.dicts()]
    assert CANARY not in json.dumps(kept)


def test_a_preemption_in_training_gives_the_curve_of_an_uninterrupted_run_to_the_bit(modal, tmp_path):
    """fp32 on the CPU: every loss of the two containers together, and the final weights."""
    config = {
        "run": {"seed": 7, "output_dir": str(modal.folder)},
        "model": {
            "factory": "tenyson_wordle.tiny:build",
            "factory_args": {"layers": 2, "width": 64, "heads": 2, "intermediate": 128},
            "dtype": "float32",
        },
        "task": {
            "name": "wordle",
            "args": {"words": "tiny", "style": "compact", "sft_games": 4096, "sft_eval_games": 16},
        },
        "training": {
            "max_steps": 300,
            "batch_size": 16,
            "max_length": 128,
            "logging_steps": 1,
            "save_steps": 25,
        },
        "telemetry": {"db_url": f"sqlite:///{tmp_path}/t.db"},
    }

    def job(name):
        return SFTJob(config | {"run": config["run"] | {"id": name}}, load_task("wordle"))

    whole = modal.manager(None).run(job("whole"))
    assert whole.status == "success", whole.failure_reason
    taken = []

    def preempt(record):
        taken.append(time.time())
        modal.cloud.preempt(record.call_id, grace=30.0)

    broken = during(modal, job("broken"), preempt, '"step":60,')
    assert broken.status == "success", broken.failure_reason
    assert (
        len([one for one in modal.cloud.containers() if one["call_id"] == modal.record("broken").call_id])
        == 2
    )
    with sqlite3.connect(tmp_path / "t.db") as database:
        query = "SELECT step, loss FROM sft_metrics WHERE run_id = ? AND loss IS NOT NULL ORDER BY step"
        curves = {name: database.execute(query, (name,)).fetchall() for name in ("whole", "broken")}
        attempts = database.execute("SELECT count(*) FROM attempts WHERE run_id = 'broken'").fetchone()
    assert attempts == (2,)
    assert curves["broken"] == curves["whole"]
    assert len(curves["whole"]) == 300
    weights = {
        name: (modal.folder / name / "model" / "model.safetensors").read_bytes()
        for name in ("whole", "broken")
    }
    assert weights["broken"] == weights["whole"]


def during(modal, job, act, at):
    """As `Modal.during`, for a job of training: once its log holds `at`."""
    run = job.spec().run_id
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(modal.manager(None).run(job)), daemon=True)
    thread.start()
    log = modal.folder / run / "log.txt"
    deadline = time.monotonic() + 180
    while not (log.exists() and at in log.read_text()):
        assert time.monotonic() < deadline, "the job did not come so far"
        assert not outcome, outcome
        time.sleep(0.02)
    act(modal.record(run))
    thread.join(180)
    assert outcome, "the run did not end"
    return outcome[0]


def test_a_stop_that_is_asked_for_here_is_obeyed_there(modal, tmp_path):
    """`tenyson stop` writes a row; the container has no database; the job stops and the row says at which step."""
    config = {
        "run": {"id": "asked", "output_dir": str(modal.folder)},
        "model": {
            "factory": "tenyson_wordle.tiny:build",
            "factory_args": {"layers": 1, "width": 32, "heads": 2, "intermediate": 64},
        },
        "task": {
            "name": "wordle",
            "args": {"words": "tiny", "style": "compact", "sft_games": 20000, "sft_eval_games": 16},
        },
        "training": {
            "max_steps": 100_000, "epochs": 1000, "batch_size": 8, "max_length": 128, "logging_steps": 5, "save_steps": 50,
        },
        "telemetry": {"db_url": f"sqlite:///{tmp_path}/t.db"},
    }  # fmt: skip

    def stop(_):
        told = subprocess.run(
            [sys.executable, "-m", "tenyson", "stop", "asked", "--db-url", f"sqlite:///{tmp_path}/t.db"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert told.returncode == 0, told.stderr

    result = during(modal, SFTJob(config, load_task("wordle")), stop, '"step":50,')
    assert (result.status, result.stop_reason) == ("success", "manual stop"), result
    with sqlite3.connect(tmp_path / "t.db") as database:
        rows = database.execute(
            "SELECT status, applied_step FROM run_controls WHERE verb = 'stop'"
        ).fetchall()
    assert [status for status, _ in rows] == ["applied"]
    assert rows[0][1] > 50
    assert Path(modal.folder / "asked" / "model").is_dir()
