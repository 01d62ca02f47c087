"""The Wordle section of a pipeline's report."""

from __future__ import annotations

import json
import random
from dataclasses import asdict

from tenyson.jobs.result import JobResult
from tenyson.reporting.context import ReportContext
from tenyson.reporting.stage import Stage
from tenyson.telemetry.events import RolloutFinished
from tenyson.telemetry.sinks.jsonl import JsonlSink
from tenyson_wordle.game.solver import RandomConsistentSolver, RandomSolver, play
from tenyson_wordle.report import wordle

from .conftest import play as play_task


def evaluation(root, task, label, solver, knows_held_out=True):
    """A job folder as EvalJob leaves it, of games by a solver."""
    rollouts = []
    for secret in task.lexicon.secrets("all") * 3:
        player = (
            solver if knows_held_out or not task.lexicon.is_held_out(secret) else RandomSolver(task.lexicon)
        )
        game = play(player, secret, random.Random(f"{label}{len(rollouts)}"))
        rollouts.append(play_task(task, secret, [turn.guess for turn in game.turns]))
    sink = JsonlSink(None, root / label)
    for rollout in rollouts:
        sink.write(
            RolloutFinished(
                run_id=label,
                phase="eval",
                training=False,
                step=0,
                sample_id=rollout.sample.id,
                group=rollout.sample.id,
                prompt="?",
                completion="",
                reward=None,
                components={},
                info=rollout.info,
            )
        )
    sink.close()
    metrics = {name: asdict(metric) for name, metric in task.metrics(rollouts).items()}
    (root / label / "results.json").write_text(json.dumps({"metrics": metrics, "metadata": {}}))
    return Stage(label, "eval", JobResult(label, "success", 1.0, local_output_dir=str(root / label)))


def section(tmp_path, stages):
    return wordle(ReportContext("Wordle", stages, tmp_path))


def test_memorising_is_called_by_its_name(tmp_path, compact):
    """Where the intervals of train and held-out secrets are apart, the report says what that means."""
    text = section(
        tmp_path, [evaluation(tmp_path, compact, "eval", RandomConsistentSolver(compact.lexicon), False)]
    )
    assert "on secrets that SFT and RL drew from" in text
    assert "which words are secrets" in text


def test_no_memorising_is_claimed_without_evidence(tmp_path, compact):
    """A player that knows all words alike is not accused."""
    text = section(tmp_path, [evaluation(tmp_path, compact, "eval", RandomConsistentSolver(compact.lexicon))])
    assert "no memorising shows" in text
    assert "which words are secrets" not in text


def test_the_same_secrets_are_shown_at_each_stage(tmp_path, compact):
    """One column a stage; a green row ends a won game."""
    stages = [
        evaluation(tmp_path, compact, "baseline", RandomSolver(compact.lexicon)),
        evaluation(tmp_path, compact, "eval", RandomConsistentSolver(compact.lexicon)),
    ]
    lines = section(tmp_path, stages).splitlines()
    assert "| secret | baseline | eval |" in lines
    boards = [line for line in lines if "⬛" in line]
    assert len(boards) == 4
    for line in boards:
        secret, after = line.split("|")[1].strip(), line.split("|")[3].strip()
        assert after.endswith(f"🟩🟩🟩🟩🟩 {secret}")


def test_a_pipeline_without_evaluation_has_no_section(tmp_path):
    """Nothing to say is nothing said."""
    assert section(tmp_path, []) == ""
