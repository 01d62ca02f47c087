"""One set of options for every rollout of RL, and a `peft` that says what is trained."""

from __future__ import annotations

import json

import pytest

from tenyson.errors import ConfigError
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.rl import RLJob
from tenyson.jobs.sft import SFTJob

pytestmark = pytest.mark.train

RL = {"max_steps": 1, "batch_size": 8, "num_generations": 4, "preflight_groups": 0}

OPTIONS = {
    "nothing": {},
    "trl.top_k": {"trl": {"top_k": 2}},
    "trl.repetition_penalty": {"trl": {"repetition_penalty": 100000.0}},
    "trl.generation_kwargs": {"trl": {"generation_kwargs": {"suppress_tokens": list(range(4, 90))}}},
    "engine_args": {"engine_args": {"suppress_tokens": list(range(4, 90))}},
    "generation.min_p": {"generation": {"min_p": 0.95}},
}


@pytest.fixture(scope="module")
def played(tmp_path_factory, make_configure, echo, climb):
    """Completions of RL with each option, on tasks of one turn and of several."""
    folder, found = tmp_path_factory.mktemp("options"), {}
    configure = make_configure(folder)
    for turns, task in (("one turn", echo), ("several turns", climb)):
        for number, (option, sections) in enumerate(OPTIONS.items()):
            run_id = f"{turns.split()[0]}-{number}"
            RLJob(configure(run_id, training=RL, **sections), task).run()
            lines = (folder / "outputs" / run_id / "events.jsonl").read_text().splitlines()
            events = [event for event in map(json.loads, lines) if event["event"] == "RolloutFinished"]
            found[turns, option] = [event["completion"] for event in events]
    return found


@pytest.mark.parametrize("turns", ["one turn", "several turns"])
@pytest.mark.parametrize("option", [option for option in OPTIONS if option != "nothing"])
def test_an_option_of_generation_acts_on_every_rollout(played, turns, option):
    """Whether a task has one turn or several decides nothing about how tokens are drawn."""
    assert played[turns, option] != played[turns, "nothing"]


def test_one_option_under_two_keys_draws_the_same(played):
    """What the engine gets by engine_args and by trl.generation_kwargs is one thing."""
    for turns in ("one turn", "several turns"):
        assert played[turns, "engine_args"] == played[turns, "trl.generation_kwargs"]


THINKING = "tests.fakes.odd_models:thinks_unless_told"


@pytest.mark.parametrize("kind", ["one turn", "several turns", "evaluation"])
def test_template_variables_are_in_what_is_played_and_in_what_is_recorded(
    configure, echo, climb, events, tmp_path, kind
):
    """The recorded prompt is the ids that the model read; the fingerprint knows the variables."""
    fingerprints = []
    for run_id, variables in (("plain", {}), ("told", {"thinking": False})):
        model = {"factory": THINKING, "chat_template_kwargs": variables}
        config = configure(run_id, model=model, training=RL, evaluation={"samples": 4})
        job = EvalJob if kind == "evaluation" else RLJob
        job(config, climb if kind == "several turns" else echo).run()
        (rollout, *_) = events(run_id, "RolloutFinished")
        assert rollout["prompt"].endswith("<model>|" if variables else "<model>")
        if kind == "several turns":
            assert ("<model>|" in rollout["completion"]) is bool(variables)
        results = json.loads((tmp_path / f"outputs/{run_id}/results.json").read_text())
        fingerprints.append(results["metadata"]["fingerprint"])
    assert fingerprints[0] != fingerprints[1]


def test_peft_beside_an_adapter_says_what_that_adapter_is_or_is_refused(configure, echo, tmp_path):
    """The adapter is trained further as it was made; config.yaml must not claim another rank."""
    made = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear"}
    training = {"max_steps": 1, "batch_size": 4}
    SFTJob(configure("sft", training=training, peft=made), echo).run()
    model = {"factory": "tenyson.testing.tiny:build", "adapter": "sft"}

    def further(run_id, peft):
        return SFTJob(configure(run_id, model=model, training=training, peft=peft), echo).run()

    for name, other in (("r", 16), ("lora_alpha", 16), ("target_modules", ["q_proj"]), ("use_dora", True)):
        with pytest.raises(ConfigError, match=rf"peft\.{name}: .* has no effect: model\.adapter has"):
            further("refused", {**made, name: other})
    assert further("same", made).status == "success"


@pytest.mark.parametrize("kind", ["sft", "rl"])
def test_the_trainer_holds_the_arguments_that_were_built(kind, monkeypatch, configure, echo):
    """No job makes its trainer other arguments."""
    from tenyson.jobs.preflight.prepare import TrainingRun
    from tenyson.plugins.job_kinds import job_class

    seen = []
    attach = TrainingRun.attach
    monkeypatch.setattr(
        TrainingRun, "attach", lambda run, trainer: (seen.append((run, trainer)), attach(run, trainer))[1]
    )
    training = {"max_steps": 1, "batch_size": 8, "num_generations": 4, "preflight_groups": 0}
    job_class(kind)(configure(kind, training=training, trl={"adam_beta1": 0.7}), echo).run()
    [(run, trainer)] = seen
    assert trainer.args is run.arguments
    assert trainer.optimizer.param_groups[0]["betas"][0] == 0.7
