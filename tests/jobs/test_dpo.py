"""DPOJob trains on pairs of answers as TRL's DPOTrainer does, resumes exactly, and refuses pairs that teach nothing."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tenyson.errors import ConfigError, TaskError
from tenyson.jobs.dpo import DPOJob
from tenyson.jobs.runtime.finding import PreflightError
from tenyson.jobs.sft import SFTJob
from tenyson.tasks.load import load_task

pytestmark = pytest.mark.train

TASK = str(Path(__file__).parents[1] / "tasks" / "prefer_task.py")
TRAINING = {"max_steps": 8, "batch_size": 8, "learning_rate": 0.003, "logging_steps": 1}
LORA = {"r": 4, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"]}
NAMES = (
    "rewards/chosen",
    "rewards/rejected",
    "rewards/accuracies",
    "rewards/margins",
    "logps/chosen",
    "logps/rejected",
)


@pytest.fixture
def task():
    """Makes the task, with a fault where one is named."""
    return lambda **arguments: load_task(TASK, arguments)


@pytest.fixture
def findings(tmp_path):
    """What preflight wrote down of a run: severity and words by check."""

    def of(run):
        found = json.loads((tmp_path / "outputs" / run / "preflight.json").read_text())["findings"]
        # Those of train come first.
        return {one["check"]: (one["severity"], one["cause"]) for one in reversed(found)}

    return of


def logged(events, run):
    """What a run logged while it trained, step by step, without what the machine decides."""
    rows = [event["values"] for event in events(run, "MetricsLogged") if "loss" in event["values"]]
    return [{name: row[name] for name in ("loss", *NAMES)} for row in rows]


def bare(folder, task, model, **more):
    """The same of a script that uses TRL alone, which renders the pairs itself."""
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import DPOConfig, DPOTrainer

    rows = [
        {"prompt": list(one.prompt), "chosen": list(one.chosen), "rejected": list(one.rejected)}
        for one in task.preference_samples("train", 0)
    ]
    arguments = DPOConfig(
        output_dir=str(folder / "bare"), seed=0, data_seed=0, max_steps=8, per_device_train_batch_size=8, learning_rate=0.003,
        logging_steps=1, gradient_checkpointing=False, use_cpu=True, bf16=False, report_to="none", save_strategy="no",
        beta=0.3, loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.1],
    )  # fmt: skip
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    trainer = DPOTrainer(
        model=model, args=arguments, train_dataset=Dataset.from_list(rows), processing_class=tokenizer, **more
    )
    trainer.train()
    rows = [entry for entry in trainer.state.log_history if "loss" in entry]
    return [{name: row[name] for name in ("loss", *NAMES)} for row in rows]


@pytest.mark.parametrize("way", ["all weights", "LoRA", "an adapter of SFT"])
def test_losses_equal_those_of_a_bare_trl_script(configure, task, events, tmp_path, way):
    """To the bit, with the rewards: the same data, model, reference and seed."""
    from tenyson.testing.tiny import build

    build(tmp_path / "model", 0)
    model = {"name": str(tmp_path / "model")}
    trl = {"beta": 0.3, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.1]}
    sections = {"model": model, "training": TRAINING, "trl": trl}
    theirs, more = model["name"], {}
    if way == "LoRA":
        from peft import LoraConfig

        sections["peft"] = LORA
        more["peft_config"] = LoraConfig(task_type="CAUSAL_LM", **LORA)
    elif way == "an adapter of SFT":
        from peft import PeftModel
        from transformers import AutoModelForCausalLM

        SFTJob(configure("sft", model=model, training=TRAINING, peft=LORA), task()).run()
        adapter = tmp_path / "outputs" / "sft" / "adapter"
        sections["model"] = model | {"adapter": str(adapter)}
        base = AutoModelForCausalLM.from_pretrained(model["name"], dtype="float32")
        theirs = PeftModel.from_pretrained(base, adapter, is_trainable=True)
    DPOJob(configure("dpo", **sections), task()).run()
    expected = bare(tmp_path, task(), theirs, **more)
    assert len(expected) == 8
    assert expected[0]["rewards/margins"] == 0.0 != expected[-1]["rewards/margins"]
    assert logged(events, "dpo") == expected


def test_the_chosen_answers_become_likelier(configure, task, events, tmp_path):
    """In training and in its evaluation, which has the same prompts here; the result has TRL's names for it."""
    training = {**TRAINING, "max_steps": 40, "eval_steps": 20}
    result = DPOJob(configure("dpo", training=training), task(fault="overlap")).run()
    assert result.status == "success"
    assert result.metrics["rewards/accuracies"] > 0.9
    assert result.metrics["eval_loss"] < math.log(2)
    assert result.metrics["eval_rewards/margins"] > 0
    assert (tmp_path / "outputs" / "dpo" / "model" / "model.safetensors").is_file()
    rows = events("dpo", "MetricsLogged")
    assert {row["phase"] for row in rows} == {"dpo"}
    assert set(NAMES) | {"entropy", "logits/chosen", "learning_rate"} <= rows[0]["values"].keys()


def test_an_answer_of_several_turns_learns_no_user_message(configure, task):
    """TRL would learn the whole answer."""
    from tenyson.config.load import parse_config
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.data.dpo_pairs import read_preferences
    from tenyson.jobs.models.model import load_tokenizer, resolve_model
    from tenyson.jobs.trainers.dpo_trainer import PreferenceCollator
    from tenyson.tasks.preference import PreferenceSample

    config = parse_config(configure("x"))
    tokenizer = load_tokenizer(resolve_model(config))
    renderer, turns = Renderer(tokenizer), task()
    turns.preference_samples = lambda split, seed: [
        PreferenceSample(
            id="0",
            prompt=[{"role": "user", "content": "a"}],
            chosen=[
                {"role": "assistant", "content": "b"},
                {"role": "user", "content": "cd"},
                {"role": "assistant", "content": "e"},
            ],
            rejected=[{"role": "assistant", "content": "f"}],
        )
    ]
    rows = read_preferences(turns, renderer, "train", config).dataset()
    batch = PreferenceCollator(pad_token_id=tokenizer.pad_token_id)(list(rows))
    learnt = [
        renderer.raw(ids[mask.bool()].tolist())
        for ids, mask in zip(batch["input_ids"], batch["completion_mask"], strict=True)
    ]
    assert learnt == ["b<eos>e<eos>", "f<eos>"]
    assert renderer.raw(batch["input_ids"][0].tolist()) == "<user>a<model>b<eos><user>cd<model>e<eos>"


@pytest.mark.parametrize(
    ("case", "sections", "training"),
    [
        ("all weights, the reference moves", {"trl": {"sync_ref_model": True, "ref_model_sync_steps": 2}}, {}),
        ("LoRA, reference computed before", {"peft": LORA, "trl": {"precompute_ref_log_probs": True}}, {"eval_steps": 5}),
        ("an adapter of SFT", {"adapter": True}, {"eval_steps": 5}),
    ],
)  # fmt: skip
def test_a_killed_and_resumed_training_is_the_same_to_the_bit(tmp_path, case, sections, training):
    """`tenyson verify-resume`: real processes and SIGKILL; every number and the final weights."""
    from tests.soak.resume_matrix import verify

    training = TRAINING | {"max_steps": 12, "save_steps": 3, "kill": 7} | training
    verdict = verify(tmp_path, ("dpo", {"task": "prefer_task.py", **sections}, training))
    assert verdict["differences"] == [], case
    assert verdict["identical"]
    assert verdict["numbers"] > 10 * verdict["steps"]
    assert 0 < verdict["kills"][0]["resumed_from"] < verdict["steps"] == 12


@pytest.mark.parametrize(
    ("fault", "check", "severity", "words"),
    [
        ("identical", "identical_pairs", "error", "64 of 64 train pairs have the same chosen and rejected answer"),
        ("one identical", "identical_pairs", "warning", "1 of 64 train pairs have the same chosen and rejected answer"),
        ("empty", "empty_answer", "error", "1 of 64 train pairs have a chosen answer with an empty reply (first: sample train/0)"),
        ("overlap", "overlap", "warning", "64 of 64 eval prompts are also in train (first: sample eval/0, as train/"),
    ],
)  # fmt: skip
def test_pairs_that_teach_nothing_or_measure_nothing_are_told(
    configure, task, findings, fault, check, severity, words
):
    """An error stops the job before its model is loaded."""
    job = DPOJob(configure("dpo", training={**TRAINING, "max_steps": 1, "eval_steps": 1}), task(fault=fault))
    if severity == "error":
        with pytest.raises(PreflightError):
            job.run()
    else:
        job.run()
    found, said = findings("dpo")[check]
    assert found == severity
    assert words in said


def test_cut_answers_are_counted_and_told(configure, task, findings):
    """With its prompt a chosen answer has seven tokens, a rejected one six: no chosen answer would train its end."""
    with pytest.raises(PreflightError):
        DPOJob(configure("dpo", training={**TRAINING, "max_steps": 1, "max_length": 6}), task()).run()
    severity, cause = findings("dpo")["length"]
    assert severity == "warning"
    assert "64 of 64 train chosen samples are longer than training.max_length = 6" in cause
    assert findings("dpo")["eos"][0] == "error"


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("sample", "sample train/0 is a Sample.*which is no PreferenceSample"),
        ("none", "the rejected answer of sample train/0 has no message"),
        ("roles", r"the chosen answer of sample train/0 must be assistant, user, assistant, \.\.\.; it is \['user'\]"),
    ],
)  # fmt: skip
def test_a_sample_that_is_no_pair_is_refused_by_name(configure, task, fault, words):
    with pytest.raises(TaskError, match=words):
        DPOJob(configure("dpo", training=TRAINING), task(fault=fault)).run()


def test_a_task_without_preferences_says_what_to_write(configure, echo):
    with pytest.raises(TaskError, match=r"the task echo has no preference samples") as caught:
        DPOJob(configure("dpo", training=TRAINING), echo).run()
    assert caught.value.next_step == "Implement preference_samples(split, seed)."


def test_nothing_left_to_learn_is_an_error(configure, task):
    with pytest.raises(TaskError, match="64 of them with nothing to learn within 3 tokens"):
        DPOJob(configure("dpo", training={**TRAINING, "max_length": 3}), task()).run()


@pytest.mark.parametrize(
    ("trl", "words"),
    [
        ({"max_length": 64}, r"trl.max_length: is set by Tenyson itself \(use training.max_length\)"),
        ({"max_prompt_length": 64}, r"trl.max_prompt_length: no argument of trl"),
        ({"truncation_mode": "keep_end"}, r"trl.truncation_mode: .*longer rows lose their end"),
        ({"pad_token": "x"}, r"trl.pad_token: would change the tokenizer"),
        ({"padding_free": True}, r"trl.padding_free: "),
        ({"label_smoothing_factor": 0.1}, r"trl.label_smoothing_factor: .*use trl.label_smoothing"),
        ({"dataset_num_proc": 2}, r"trl.dataset_num_proc: means nothing here: rows reach TRL as token ids"),
        ({"loss_type": ["sigmod"]}, r"trl.loss_type: no loss is called 'sigmod' \(did you mean sigmoid\?\)"),
        ({"loss_type": ["sigmoid", "nll"]}, r"trl.loss_type: no loss is called 'nll'"),
        ({"ref_model_sync_steps": 2}, r"trl.ref_model_sync_steps: has no effect without trl.sync_ref_model"),
        ({"loss_weights": [1.0, 0.5]}, r"trl.loss_weights: has 2 weights for 1 losses"),
        ({"f_alpha_divergence_coef": 0.3}, r"trl.f_alpha_divergence_coef: has no effect without trl.f_divergence_type"),
        ({"precompute_ref_batch_size": 4}, r"has no effect without trl.precompute_ref_log_probs"),
        ({"beta": 0.0}, r"trl.beta: must be above 0, not 0.0"),
        ({"ld_alpha": 2.0}, r"trl.ld_alpha: must be between 0 and 1, not 2.0"),
        ({"label_smoothing": 2.0}, r"trl.label_smoothing: must be between 0 and 1, not 2.0"),
        ({"f_divergence_type": "kl"}, r"trl.f_divergence_type: must be .*, not 'kl'"),
        ({"loss_type": ["exo_pair"]}, r"trl.loss_type: the loss exo_pair needs trl.label_smoothing above 0"),
        ({"label_smoothing": 0.1}, r"trl.label_smoothing: has no effect without one of the losses"),
        ({"loss_type": ["nca_pair"], "f_divergence_type": "forward_kl"}, r"is not defined for the loss nca_pair"),
        ({"loss_type": ["aot"], "use_weighting": True}, r"trl.use_weighting: cannot weigh pairs"),
        ({"sync_ref_model": True, "precompute_ref_log_probs": True}, r"trl.sync_ref_model: moves the reference"),
        ({"average_tokens_across_devices": False}, r"the loss is a mean over pairs"),
    ],
)  # fmt: skip
def test_an_argument_that_would_not_act_is_refused(configure, task, trl, words):
    with pytest.raises(ConfigError, match=words):
        DPOJob(configure("dpo", training=TRAINING, trl=trl), task()).run()
