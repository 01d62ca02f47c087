"""Real training in the stand-in's containers: real wheels, real image layers, results and telemetry here, secrets nowhere."""

import json
import sqlite3
import threading

import pytest
from tests.aws.test_training import CANARY, Spy, watch_database
from tests.fakes.trainings import (
    ask_to_stop,
    assert_same_training,
    assert_stopped_as_asked,
    endless_training,
    exact_training,
)
from tests.fakes.wordle_run import STEPS, likeness, start

pytestmark = [pytest.mark.train, pytest.mark.slow, pytest.mark.timeout(1200)]


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
    said, _ = process.communicate(timeout=900)
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
    database, steps = tmp_path / "t.db", 400
    whole = modal.manager(None).run(exact_training("whole", modal.folder, database, steps=steps))
    assert whole.status == "success", whole.failure_reason
    job = exact_training("broken", modal.folder, database, steps=steps)
    broken = modal.during(
        job,
        modal.manager(None),
        lambda record: modal.cloud.preempt(record.call_id, grace=30.0),
        at='"step":60,',
    )
    assert broken.status == "success", broken.failure_reason
    call = modal.record("broken").call_id
    assert len([one for one in modal.cloud.containers() if one["call_id"] == call]) == 2
    assert_same_training(modal.folder, database, steps)


def test_a_stop_that_is_asked_for_here_is_obeyed_there(modal, tmp_path):
    """`tenyson stop` writes a row; the container has no database; the job stops and the row says at which step."""
    database = tmp_path / "t.db"
    job = endless_training("asked", modal.folder, database)
    result = modal.during(job, modal.manager(None), lambda _: ask_to_stop("asked", database), at='"step":50,')
    assert_stopped_as_asked(result, database)
