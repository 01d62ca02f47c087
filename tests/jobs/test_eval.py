"""EvalJob measures with counts and intervals, batch by batch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenyson.engines.transformers import TransformersEngine
from tenyson.errors import TaskError
from tenyson.jobs.eval import EvalJob
from tenyson.tasks import Metric
from tenyson.telemetry.control import StopSignal

pytestmark = pytest.mark.train


def results_of(result) -> dict:
    return json.loads((Path(result.local_output_dir) / "results.json").read_text())


def test_results_hold_each_metric_with_count_and_interval(configure, echo):
    """results.json has value, n and the 95% interval; job_result.json has the plain values."""
    result = EvalJob(configure("eval"), echo).run()
    metric = results_of(result)["metrics"]["accuracy"]
    expected = Metric.proportion(round(metric["value"] * 64), 64)
    assert metric == {"value": expected.value, "n": 64, "low": expected.low, "high": expected.high}
    saved = json.loads((Path(result.local_output_dir) / "job_result.json").read_text())
    assert saved["metrics"]["accuracy"] == metric["value"]


def test_every_generation_is_recorded(configure, echo, events):
    """One event for each rollout, phase eval, with the prompt and the completion as the model saw them."""
    EvalJob(configure("eval", evaluation={"samples_per_prompt": 2, "batch_size": 24}), echo).run()
    rollouts = events("eval", "RolloutFinished")
    assert len(rollouts) == 128
    assert all(rollout["phase"] == "eval" and not rollout["training"] for rollout in rollouts)
    assert rollouts[0]["prompt"].startswith("<user>")


def test_the_same_seed_gives_the_same_rollouts(configure, echo, events):
    """And another seed gives others."""
    for run_id, seed in (("one", 3), ("two", 3), ("three", 4)):
        config = configure(run_id)
        config["run"]["seed"] = seed
        config["model"] = {"factory": "tenyson.testing.tiny:build"}
        EvalJob(config, echo).run()
    completions = {
        run_id: [event["completion"] for event in events(run_id, "RolloutFinished")]
        for run_id in ("one", "two", "three")
    }
    assert completions["one"] == completions["two"] != completions["three"]


def test_greedy_decoding_gives_every_repeat_the_same_reply(configure, echo, events):
    """Temperature 0 means greedy."""
    EvalJob(
        configure(
            "eval", generation={"temperature": 0.0}, evaluation={"samples_per_prompt": 3, "samples": 5}
        ),
        echo,
    ).run()
    by_sample: dict[str, set[str]] = {}
    for event in events("eval", "RolloutFinished"):
        by_sample.setdefault(event["sample_id"], set()).add(event["completion"])
    assert [len(replies) for replies in by_sample.values()] == [1] * 5


@pytest.mark.parametrize("greedy", [{"temperature": 0.0}, {"top_k": 1}, {"min_p": 1.0}])
def test_greedy_rollouts_of_a_sample_are_one_rollout(configure, echo, events, greedy):
    """They would all be the same: each sample is played once, that is said, and the interval is that of the samples."""
    sampled = {"samples": 6, "samples_per_prompt": 4}
    result = EvalJob(configure("eval", generation=greedy, evaluation=sampled), echo).run()
    assert len(events("eval", "RolloutFinished")) == 6
    metric = results_of(result)["metrics"]["accuracy"]
    expected = Metric.proportion(round(metric["value"] * 6), 6)
    assert metric == {"value": expected.value, "n": 6, "low": expected.low, "high": expected.high}
    (said,) = [event["message"] for event in events("eval", "Notice") if "greedy" in event["message"]]
    assert "4 rollouts of a sample would be one" in said


@pytest.fixture
def stop_during(monkeypatch):
    """A signal that is set while the prompt with this number is generated for, by the batches' own order."""

    def make(prompt: int, reason: str) -> StopSignal:
        stop, played, generate = StopSignal(), [], TransformersEngine.generate

        def stopping(self, prompts, sampling):
            played.extend(prompts)
            if len(played) >= prompt:
                stop.set(reason)
            return generate(self, prompts, sampling)

        monkeypatch.setattr(TransformersEngine, "generate", stopping)
        return stop

    return make


def test_a_stop_between_batches_measures_what_was_processed(configure, echo, stop_during):
    """Metrics cover the processed part only, and metadata.stopped_early says so; it is no failure."""
    stop = stop_during(20, "manual stop")
    result = EvalJob(configure("eval", evaluation={"batch_size": 16}), echo).run(stop)
    results = results_of(result)
    assert result.status == "success"
    assert results["metadata"]["stopped_early"] is True
    assert results["metadata"]["stop_reason"] == result.stop_reason == "manual stop"
    assert results["metadata"]["rollouts"] == 32
    assert results["metrics"]["accuracy"]["n"] == 32


@pytest.mark.parametrize("reason", ["manual stop", "SIGTERM"])
def test_a_stop_during_the_last_batch_stops_nothing_early(configure, echo, stop_during, reason):
    """All samples were played: the request is rejected, and neither the result nor its metadata say otherwise."""
    stop = stop_during(64, reason)
    result = EvalJob(configure("eval", evaluation={"batch_size": 16}), echo).run(stop)
    metadata = results_of(result)["metadata"]
    assert stop.requested
    assert (metadata["rollouts"], metadata["stopped_early"], metadata["stop_reason"]) == (64, False, None)
    assert (result.status, result.stop_reason) == ("success", None)


def test_a_whole_evaluation_is_not_marked_as_stopped(configure, echo):
    """The mark means something only if it is absent otherwise."""
    assert results_of(EvalJob(configure("eval"), echo).run())["metadata"]["stopped_early"] is False


def test_auto_takes_transformers_for_a_tiny_model_and_says_why(configure, echo):
    """The choice and its reason are part of the result."""
    metadata = results_of(EvalJob(configure("eval", generation={"engine": "auto"}), echo).run())["metadata"]
    assert metadata["engine"] == "transformers"
    assert "weights" in metadata["engine_reason"] or "not installed" in metadata["engine_reason"]


def test_a_split_without_samples_is_an_error(configure, echo, monkeypatch):
    """A win rate over nothing is no result."""
    monkeypatch.setattr(type(echo), "eval_samples", lambda self, split, seed: [])
    with pytest.raises(TaskError, match="no evaluation samples in the split 'nowhere'"):
        EvalJob(configure("eval", evaluation={"split": "nowhere"}), echo).run()


def test_all_games_of_a_multi_turn_task_advance_together(configure, climb):
    """64 games of three turns take three calls of the engine, not 192."""
    calls = []
    original = TransformersEngine.generate

    def counting(self, prompts, sampling):
        calls.append(len(prompts))
        return original(self, prompts, sampling)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransformersEngine, "generate", counting)
        EvalJob(configure("eval"), climb).run()
    assert calls == [64, 64, 64]
