"""SFTJob trains on replies alone, stops early, resumes, and writes what the specification promises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tenyson.errors import ConfigError, ModelError, TaskError
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.sft import SFTJob
from tenyson.telemetry.control import StopSignal

pytestmark = pytest.mark.train

QUICK = {"max_steps": 60, "batch_size": 16, "learning_rate": 0.01}


def test_sft_teaches_the_task(configure, echo):
    """An untrained model answers nothing right; after sixty steps it answers most."""
    before = EvalJob(configure("before"), echo).run()
    SFTJob(configure("sft", training=QUICK), echo).run()
    after = EvalJob(configure("after", model={"name": "sft"}), echo).run()
    assert before.metrics["accuracy"] < 0.05
    assert after.metrics["accuracy"] > 0.5


def test_a_multi_turn_conversation_is_learnt_turn_by_turn(configure, climb):
    """SFT on whole conversations teaches each turn, with the environment between."""
    SFTJob(configure("sft", training={**QUICK, "max_steps": 120}), climb).run()
    after = EvalJob(configure("after", model={"name": "sft"}), climb).run()
    assert after.metrics["right"] > 0.6


def test_the_job_folder_holds_what_the_design_promises(configure, echo, tmp_path):
    """Configuration, checkpoints with LATEST, the model, results and result, by these names."""
    result = SFTJob(configure("run", training={**QUICK, "max_steps": 4, "save_steps": 2}), echo).run()
    folder = Path(result.local_output_dir)
    assert folder == tmp_path / "outputs" / "run"
    assert (folder / "config.yaml").is_file()
    assert (folder / "checkpoints" / "LATEST").read_text().strip() == "step-4"
    assert (folder / "checkpoints" / "step-2" / "model.safetensors").is_file()
    assert (folder / "model" / "model.safetensors").is_file()
    assert json.loads((folder / "results.json").read_text())["schema_version"] == 1
    assert json.loads((folder / "job_result.json").read_text())["status"] == "success"


def test_lora_writes_an_adapter_that_changes_the_model(configure, echo, events):
    """With `peft` only the adapter is trained and written, and an evaluation finds it by run id."""
    base = SFTJob(configure("base", training={**QUICK, "max_steps": 30, "eval_steps": 30}), echo).run()
    lora = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
    training = {**QUICK, "learning_rate": 0.005, "eval_steps": 60}
    result = SFTJob(configure("lora", model={"name": "base"}, training=training, peft=lora), echo).run()
    folder = Path(result.local_output_dir)
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert not (folder / "model").exists()
    assert result.metrics["eval_loss"] < base.metrics["eval_loss"] - 0.1
    greedy = {"temperature": 0.0}
    EvalJob(configure("plain", model={"name": "base"}, generation=greedy), echo).run()
    EvalJob(configure("adapted", model={"name": "base", "adapter": "lora"}, generation=greedy), echo).run()
    replies = {
        run: [event["completion"] for event in events(run, "RolloutFinished")] for run in ("plain", "adapted")
    }
    assert replies["plain"] != replies["adapted"]


def test_packing_trains_the_same_samples(configure, echo):
    """Packed samples are learnt as well; none leaks into its neighbour's loss."""
    SFTJob(
        configure("packed", training={**QUICK, "max_steps": 300, "packing": True, "max_length": 64}), echo
    ).run()
    after = EvalJob(configure("after", model={"name": "packed"}), echo).run()
    assert after.metrics["accuracy"] > 0.5


def test_samples_that_are_too_long_are_counted_and_said(configure, climb, events):
    """Cutting in silence would train a model that never ends its replies."""
    SFTJob(configure("cut", training={**QUICK, "max_steps": 2, "max_length": 8}), climb).run()
    [notice] = [event for event in events("cut", "Notice") if event["level"] == "warning"]
    assert "64 of 64 train samples are longer than training.max_length = 8" in notice["message"]


def test_nothing_left_to_learn_is_an_error(configure, echo):
    """A limit shorter than every prompt leaves no sample."""
    with pytest.raises(TaskError, match="nothing to learn within 2 tokens"):
        SFTJob(configure("none", training={**QUICK, "max_length": 2}), echo).run()


def test_early_stopping_ends_training_when_eval_loss_is_constant(configure, echo):
    """With no progress at all, the first evaluation counts as best and `patience` more end the run."""
    training = {**QUICK, "learning_rate": 1e-30, "eval_steps": 5, "early_stopping_patience": 2}
    result = SFTJob(configure("flat", training=training), echo).run()
    results = json.loads((Path(result.local_output_dir) / "results.json").read_text())
    assert results["metadata"]["steps"] == 15
    assert results["metadata"]["stopped_early"] is True
    assert results["metadata"]["stop_reason"] == "early stopping on eval_loss"


def test_improvement_within_the_minimum_delta_does_not_count(configure, echo):
    """eval_loss falls at every evaluation here, but never by more than early_stopping_min_delta."""
    training = {**QUICK, "eval_steps": 5, "early_stopping_patience": 2, "early_stopping_min_delta": 100.0}
    result = SFTJob(configure("small", training=training), echo).run()
    results = json.loads((Path(result.local_output_dir) / "results.json").read_text())
    assert results["metadata"]["steps"] == 15


def test_a_falling_eval_loss_trains_to_the_end(configure, echo):
    """Early stopping leaves a run that improves alone."""
    training = {**QUICK, "eval_steps": 10, "early_stopping_patience": 2, "early_stopping_min_delta": 0.0}
    result = SFTJob(configure("falling", training=training), echo).run()
    results = json.loads((Path(result.local_output_dir) / "results.json").read_text())
    assert results["metadata"]["steps"] == 60
    assert results["metadata"]["stopped_early"] is False


def test_training_stops_once_eval_loss_reaches_the_target(configure, echo, events):
    """target_eval_loss ends the run at the first evaluation that is low enough, and the result says so."""
    training = {**QUICK, "eval_steps": 5, "target_eval_loss": 1.0}
    result = SFTJob(configure("target", training=training), echo).run()
    metadata = json.loads((Path(result.local_output_dir) / "results.json").read_text())["metadata"]
    losses = [
        e["values"]["eval_loss"] for e in events("target", "MetricsLogged") if "eval_loss" in e["values"]
    ]
    assert losses[-1] <= 1.0 < losses[-2]
    assert metadata["steps"] == 5 * len(losses) < 60
    assert metadata["stop_reason"] == "eval_loss reached 1"


@pytest.mark.parametrize("reason", ["manual stop", "SIGTERM"])
def test_a_stop_at_the_last_step_stops_nothing_early(configure, echo, reason):
    """All steps were done: the run is complete, and not one to be resumed."""
    stop = StopSignal()
    stop.set(reason)
    result = SFTJob(configure("run", training={**QUICK, "max_steps": 1}), echo).run(stop)
    metadata = json.loads((Path(result.local_output_dir) / "results.json").read_text())["metadata"]
    assert (metadata["steps"], metadata["stopped_early"], metadata["stop_reason"]) == (1, False, None)
    assert (result.status, result.stop_reason) == ("success", None)


@pytest.mark.parametrize("key", ["early_stopping_patience", "target_eval_loss"])
def test_stopping_on_eval_loss_needs_evaluations(configure, echo, key):
    """Without eval_steps there would never be a loss to look at."""
    with pytest.raises(ConfigError, match=f"{key} looks at eval_loss, so it needs eval_steps"):
        SFTJob(configure("run", training={key: 1}), echo)


def test_early_stopping_keeps_the_best_checkpoint(configure, echo, events):
    """The loss rises after a while at this rate; the model that is written is the best one, not the last."""
    training = {
        **QUICK,
        "learning_rate": 0.02,
        "lr_scheduler": "constant",
        "max_steps": 400,
        "samples": 8,
        "eval_steps": 5,
        "early_stopping_patience": 3,
    }
    result = SFTJob(configure("best", training=training), echo).run()
    folder = Path(result.local_output_dir)
    results = json.loads((folder / "results.json").read_text())
    losses = {
        event["step"]: event["values"]["eval_loss"]
        for event in events("best", "MetricsLogged")
        if "eval_loss" in event["values"]
    }
    best = min(losses, key=losses.__getitem__)
    assert best < max(losses), "the loss has to rise, or this test shows nothing"
    assert results["metadata"]["best_checkpoint"] == str(folder / "checkpoints" / f"step-{best}")
    kept = (folder / "checkpoints" / f"step-{best}" / "model.safetensors").read_bytes()
    assert kept == (folder / "model" / "model.safetensors").read_bytes()


def test_a_resumed_run_ends_where_an_uninterrupted_one_does(configure, echo, losses, tmp_path):
    """Weights, optimizer, schedule and data order continue: the last losses agree to the bit."""
    training = {**QUICK, "max_steps": 20, "save_steps": 10, "save_total_limit": None}
    SFTJob(configure("whole", training=training), echo).run()
    checkpoint = tmp_path / "outputs" / "whole" / "checkpoints" / "step-10"
    resumed = {**training, "resume_from_checkpoint": str(checkpoint)}
    SFTJob(configure("resumed", training=resumed), echo).run()
    assert losses("resumed") == losses("whole")[10:]


@pytest.mark.parametrize("ends", [{"max_steps": 6}, {"max_steps": None, "epochs": 1}])
def test_a_run_that_was_killed_after_its_last_checkpoint_keeps_its_mean_loss(configure, echo, events, ends):
    """Nothing is left to train, and the mean is still that of all its steps."""
    training = {**QUICK, **ends, "save_steps": 2}
    config = configure("run", training=training)
    SFTJob(config, echo).run()
    SFTJob(configure("run", training={**training, "resume_from_checkpoint": "latest"}), echo).run()
    means = [
        one["values"]["train_loss"] for one in events("run", "MetricsLogged") if "train_loss" in one["values"]
    ]
    assert len(means) == 2
    assert means[0] == means[1] > 0


def test_latest_resumes_from_the_newest_checkpoint_of_this_run(configure, echo, events):
    """`latest` is what a person types after a crash."""
    training = {**QUICK, "max_steps": 10, "save_steps": 5}
    SFTJob(configure("run", training=training), echo).run()
    longer = {**training, "max_steps": 15, "resume_from_checkpoint": "latest"}
    SFTJob(configure("run", training=longer), echo).run()
    assert any("resuming from step 10" in event["message"] for event in events("run", "Notice"))


def test_a_resumed_run_saves_and_evaluates_as_often_as_is_asked_for_now(configure, echo, events, tmp_path):
    """And not as often as the checkpoint remembers."""
    training = {**QUICK, "max_steps": 4, "save_steps": 2, "eval_steps": 4, "eval_samples": 4}
    SFTJob(configure("run", training=training), echo).run()
    more = {"max_steps": 8, "save_steps": 1, "eval_steps": 1, "save_total_limit": None}
    SFTJob(configure("run", training={**training, **more, "resume_from_checkpoint": "latest"}), echo).run()
    saved = {path.name for path in (tmp_path / "outputs/run/checkpoints").glob("step-*")}
    assert {"step-5", "step-6", "step-7", "step-8"} <= saved
    evaluated = [one["step"] for one in events("run", "MetricsLogged") if "eval_loss" in one["values"]]
    assert {5, 6, 7, 8} <= set(evaluated)


def test_a_directory_that_is_no_checkpoint_is_refused(configure, echo, tmp_path):
    """The error names the directory and what is missing in it."""
    training = {**QUICK, "resume_from_checkpoint": str(tmp_path)}
    with pytest.raises(ModelError, match=r"trainer_state\.json"):
        SFTJob(configure("run", training=training), echo).run()


@pytest.mark.parametrize(
    ("section", "wrong", "nearest"),
    [("trl", {"adam_beta_2": 0.9}, "adam_beta2"), ("peft", {"lora_alfa": 4}, "lora_alpha")],
)
def test_a_wrong_passthrough_name_is_an_error_before_training(configure, echo, section, wrong, nearest):
    """TRL's and PEFT's own arguments are checked by name, with the nearest valid one."""
    with pytest.raises(ConfigError, match=nearest):
        SFTJob(configure("run", **{section: wrong}), echo).run()


def test_trl_arguments_reach_trl_verbatim(configure, echo, losses):
    """What stands under `trl` goes before Tenyson's own choice."""
    SFTJob(configure("own", training={**QUICK, "max_steps": 3}), echo).run()
    SFTJob(configure("verbatim", training={**QUICK, "max_steps": 3}, trl={"adam_beta2": 0.5}), echo).run()
    assert losses("own")[0] == losses("verbatim")[0]
    assert losses("own")[2] != losses("verbatim")[2]


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"name": "./no/such/dir"}, "no such model directory"),
        ({"factory": "no.such.module:build"}, "cannot be imported"),
        ({"factory": "tenyson.testing.tiny:build", "factory_args": {"wide": 3}}, "factory_args"),
        ({"factory": "tenyson.testing.tiny:build", "adapter": "never-ran"}, "neither a directory, nor a run"),
    ],
)
def test_a_model_that_cannot_be_found_is_named(configure, echo, model, says):
    """A typo in the model section costs a line, not a stack trace."""
    with pytest.raises(ModelError, match=says):
        SFTJob(configure("run", model=model), echo).run()
