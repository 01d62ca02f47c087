"""A judge in RL and evaluation: asked once for each question over kill, resume and rerun, within its budget, and recorded in SQL."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml
from tests.fakes.chat_server import ChatServer

from tenyson.jobs.eval import EvalJob
from tenyson.jobs.rl import RLJob
from tenyson.reporting.helpers.configuration import judge_in_words
from tenyson.rewards.judging.errors import JudgeBudgetError
from tenyson.tasks.load import load_task
from tenyson.telemetry.control import StopSignal

pytestmark = pytest.mark.train

TASK = Path(__file__).parents[1] / "tasks" / "judge_task.py"
CANARY = "a-judges-key-without-a-pattern-4711"
GRPO = {"max_steps": 5, "batch_size": 8, "num_generations": 4, "learning_rate": 0.02, "save_steps": 2}
GRPO |= {"preflight_groups": 0, "logging_steps": 1}


@pytest.fixture(autouse=True)
def environment(tmp_path, monkeypatch):
    """A cache and a key of the test's own, also for the processes that it starts."""
    monkeypatch.setenv("TENYSON_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("JUDGE_OPENS", CANARY)


@pytest.fixture
def judged(tmp_path, configure):
    """A configuration of a run that is recorded in SQL."""

    def make(run_id, **sections):
        config = configure(run_id, **sections)
        config["telemetry"] = {"db_url": f"sqlite:///{tmp_path}/t.db", "sinks": ["jsonl", "sql"]}
        config["task"] = {"secrets": ["JUDGE_OPENS"]}
        config["rollouts"] = {"concurrency": 1}
        return config

    return make


def select(tmp_path, query):
    with sqlite3.connect(tmp_path / "t.db") as connection:
        return connection.execute(query).fetchall()


def weights(tmp_path, run_id):
    return (tmp_path / "outputs" / run_id / "model" / "model.safetensors").read_bytes()


def moody(body):
    """A judge that says something else each time."""
    return f"Points: {random.random():.6f}"


def questions(server):
    return [str(body["messages"]) for body in server.requests]


def test_a_judge_is_asked_once_over_kill_resume_and_rerun_and_the_training_is_the_same_to_the_bit(
    tmp_path, judged
):
    """SIGKILL in the middle of the fourth batch, as the judge is asked: that question alone is asked twice."""
    process: subprocess.Popen[bytes] | None = None
    at_kill = 3 * 16 + 5

    def answer(body):
        if process is not None and len(server.requests) == at_kill:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        return moody(body)

    with ChatServer(answer, key=CANARY) as server:
        config = judged("broken", training=GRPO)
        (tmp_path / "rl.yaml").write_text(
            yaml.safe_dump(config | {"task": {**config["task"], "args": {"url": server.url}}})
        )
        command = [sys.executable, "-m", "tenyson.runner", "--job-type", "rl", "--config", "rl.yaml"]
        process = subprocess.Popen(
            [*command, "--task-module", str(TASK)],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        told = process.communicate(timeout=300)[1]
        assert process.returncode == -signal.SIGKILL, told.decode()
        process = None
        task = load_task(str(TASK), {"url": server.url})
        resumed = {**GRPO, "resume_from_checkpoint": "latest"}
        assert RLJob(judged("broken", training=resumed), task).run().status == "success"
        asked = questions(server)
        assert len(asked) == len(set(asked)) + 1
        assert asked.count(asked[at_kill - 1]) == 2
        # Another run asks nothing, and is the run that was never killed.
        assert RLJob(judged("whole", training=GRPO), task).run().status == "success"
        assert questions(server) == asked
    assert weights(tmp_path, "broken") == weights(tmp_path, "whole")
    assert select(
        tmp_path, "SELECT min(began_at_step), max(attempt) FROM attempts WHERE run_id = 'broken'"
    ) == [(0, 2)]
    told = {
        run: select(
            tmp_path,
            "SELECT step, sample_id, criterion, value, text, key FROM verdicts "
            f"WHERE run_id = '{run}' ORDER BY rollout, number",
        )
        for run in ("broken", "whole")
    }
    assert told["broken"] == told["whole"]
    assert len(told["whole"]) == 5 * 8 * 2
    [(bought, cost, unscored)] = select(
        tmp_path,
        "SELECT sum(NOT reused), sum(usd) FILTER (WHERE NOT reused), sum(value IS NULL) FROM verdicts WHERE run_id = 'whole'",
    )
    assert (bought, cost, unscored) == (0, None, 0)
    shares = select(
        tmp_path,
        "SELECT r.reward, sum(v.value) / 3 FROM rollouts r JOIN verdicts v ON v.rollout = r.id GROUP BY r.id",
    )
    assert all(reward == pytest.approx(share) for reward, share in shares)
    assert not [
        file for file in tmp_path.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()
    ]


def test_a_spent_budget_ends_the_training_with_its_checkpoint_and_a_larger_one_continues_it(tmp_path, judged):
    """Between two regular checkpoints: no finished step is lost, and the end names the budget."""
    with ChatServer(lambda body: f"Points: {len(str(body)) % 2}", key=CANARY) as server:
        small, large = (
            load_task(str(TASK), {"url": server.url, "budget_calls": most}) for most in (3 * 16 + 3, 10_000)
        )
        with pytest.raises(JudgeBudgetError, match=r"the judge tiny is spent \(budget_calls: 51\)"):
            RLJob(judged("run", training=GRPO), small).run()
        steps = sorted(path.name for path in (tmp_path / "outputs" / "run" / "checkpoints").glob("step-*"))
        asked = len(server.requests)
        assert asked <= 51
        [(status, reason)] = select(tmp_path, "SELECT status, exit_reason FROM attempts WHERE run_id = 'run'")
        assert status == "failed"
        assert "the budget of the judge tiny is spent" in reason
        resumed = {**GRPO, "resume_from_checkpoint": "latest"}
        assert RLJob(judged("run", training=resumed), large).run().status == "success"
        assert len(set(questions(server))) == len(server.requests)
        done = max(int(name.removeprefix("step-")) for name in steps)
        [(began,)] = select(
            tmp_path, "SELECT began_at_step FROM attempts WHERE run_id = 'run' AND attempt = 2"
        )
        assert began == done >= 3


def test_replies_are_compared_in_an_evaluation_and_who_was_compared_is_recorded(tmp_path, judged):
    def winner(body):
        return f"Winner: {'AB'[len(body['messages'][-1]['content']) % 2]}"

    with ChatServer(winner, key=CANARY) as server:
        task = load_task(str(TASK), {"url": server.url, "pairwise": True})
        evaluation = {"samples": 3, "samples_per_prompt": 4, "batch_size": 8}
        config = judged("eval", evaluation=evaluation, generation={"temperature": 1.0, "max_new_tokens": 6})
        result = EvalJob(config, task).run()
    assert result.metrics["judge"] == pytest.approx(0.5)
    rows = select(tmp_path, "SELECT sample_id, opponent, value, usd > 0 FROM verdicts WHERE run_id = 'eval'")
    assert 3 * 6 < len(rows) <= 3 * 12
    assert {opponent for _, opponent, _, _ in rows} == {0, 1, 2, 3}
    assert all(priced for _, _, _, priced in rows)


def test_an_evaluation_whose_budget_is_spent_keeps_what_it_has_measured(tmp_path, judged):
    """Marked as partial; the batch in which it was spent is not in it."""
    with ChatServer(lambda body: "1", key=CANARY) as server:
        task = load_task(str(TASK), {"url": server.url, "budget_calls": 10})
        config = judged("eval", evaluation={"samples": 8, "batch_size": 4})
        with pytest.raises(JudgeBudgetError, match="this run has had 10 answers"):
            EvalJob(config, task).run()
    found = json.loads((tmp_path / "outputs" / "eval" / "results.json").read_text())
    assert (found["metadata"]["partial"], found["metadata"]["rollouts"]) == (True, 4)
    [judge] = found["metadata"]["judges"]
    assert (judge["model"], judge["answers"]) == ("tiny", 10)
    assert judge["cost_usd"] > 0
    assert f"Judge: tiny at {judge['url']}: 10 answers, {judge['tokens']:,} tokens, $0.00" in judge_in_words(
        judge
    )
    assert found["metrics"]["judge"]["value"] == pytest.approx(2 / 3)


def test_a_stop_does_not_wait_for_the_judge(tmp_path, judged):
    """In an evaluation the batch that is being judged is dropped; what was judged before is kept."""
    with ChatServer(lambda body: "1", key=CANARY) as server:
        task = load_task(str(TASK), {"url": server.url})
        stop, free = StopSignal(), threading.Event()
        config = judged("eval", evaluation={"samples": 8, "batch_size": 4})
        timer = threading.Timer(0.5, stop.by_hand)

        def answer(body):
            if len(server.requests) == 9:
                timer.start()
                free.wait(60)
            return "1"

        server.answer = answer
        begun = time.monotonic()
        result = EvalJob(config, task).run(stop)
        assert time.monotonic() - begun < 50
        free.set()
    assert result.status == "success"
    found = json.loads((tmp_path / "outputs" / "eval" / "results.json").read_text())
    assert (found["metadata"]["stopped_early"], found["metadata"]["rollouts"]) == (True, 4)


def test_a_training_that_is_stopped_while_it_is_judged_drops_that_batch_and_resumes(tmp_path, judged):
    """In the third batch; the steps before it are saved, and no answer is asked for again."""
    with ChatServer(lambda body: "1", key=CANARY) as server:
        task = load_task(str(TASK), {"url": server.url})
        stop, free = StopSignal(), threading.Event()

        def answer(body):
            if len(server.requests) == 2 * 16 + 3:
                stop.by_hand()
                free.wait(60)
            return f"Points: {len(str(body)) % 2}"

        server.answer = answer
        result = RLJob(judged("run", training=GRPO | {"logging_steps": 1}), task).run(stop)
        free.set()
        assert (result.status, result.stop_reason) == ("success", "manual stop")
        resumed = {**GRPO, "resume_from_checkpoint": "latest"}
        assert RLJob(judged("run", training=resumed), task).run().status == "success"
        asked = questions(server)
        assert len(asked) - len(set(asked)) <= 1
    assert select(tmp_path, "SELECT began_at_step FROM attempts WHERE run_id = 'run' AND attempt = 2") == [
        (2,)
    ]
