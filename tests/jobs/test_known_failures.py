"""The failures that users of this field report most, planted one by one: each is prevented, or named before the first step.

Those of resume (order of prompts, phase, patience, adapters) are in test_exact_resume.py.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tenyson.errors import ConfigError, EngineError, ModelError
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.rl import RLJob
from tenyson.jobs.runtime.finding import PreflightError
from tenyson.jobs.sft import SFTJob
from tenyson.tasks import Reward, Sample, TaskPlugin

pytestmark = pytest.mark.train

ODD = "tests.fakes.odd_models"
LORA = {"r": 4, "target_modules": ["q_proj", "v_proj"]}
SFT = {"max_steps": 40, "batch_size": 16, "learning_rate": 0.01}
QUICK = {"max_steps": 2, "batch_size": 4}
RL = {"max_steps": 4, "batch_size": 16, "num_generations": 4, "learning_rate": 0.001, "logging_steps": 1}


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Model factories are found by name, in processes of their own too."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


@pytest.fixture
def warnings(events):
    """What a run was warned of."""

    def read(run_id):
        return [event["message"] for event in events(run_id, "Notice") if event["level"] == "warning"]

    return read


class Fixed(TaskPlugin):
    """Samples and a reward as a test wants them."""

    def __init__(self, samples, reward=lambda _: 1.0):
        super().__init__()
        self._samples, self._reward = samples, reward

    def sft_samples(self, split, seed):
        return self._samples

    rl_samples = eval_samples = sft_samples

    def rewards(self):
        return [Reward("worth", self._reward)]


def sample(question="a", *turns):
    """A conversation: assistant, user, assistant, ..."""
    turns = turns or ("aaa",)
    roles = ("assistant", "user")
    completion = [{"role": roles[index % 2], "content": turn} for index, turn in enumerate(turns)]
    return Sample(id=question[:9], prompt=[{"role": "user", "content": question}], completion=completion)


# 1, 2: the end of a reply is learnt


def test_the_end_is_learnt_also_where_it_is_the_padding_token(configure, echo, tmp_path):
    """With pad = eos a collator that masks padding masks every end, and the model never stops."""
    model = {"factory": f"{ODD}:pad_is_eos"}
    SFTJob(configure("sft", model=model, training=SFT), echo).run()
    preflight = json.loads((tmp_path / "outputs/sft/preflight.json").read_text())
    learnt = [text for text, is_learnt in preflight["samples"][0] if is_learnt]
    assert learnt[-1].endswith("<eos>"), "the stop token stands within the mask"
    result = EvalJob(configure("eval", model={"name": "sft"}, evaluation={"samples": 16}), echo).run()
    assert result.metrics["truncated"] < 0.2


def test_rows_without_a_stop_token_stop_the_job(configure, echo):
    """Every row is cut before its end."""
    training = {**QUICK, "max_length": 4}
    with pytest.raises(PreflightError, match="eos: no train row trains a stop token"):
        SFTJob(configure("sft", training=training), echo).run()


# 3: markers


def test_generation_markers_are_not_needed_and_asking_for_them_is_refused(configure, echo):
    with pytest.raises(ConfigError, match=r"trl\.assistant_only_loss: .* by Tenyson's own mask"):
        SFTJob(configure("sft", training=QUICK, trl={"assistant_only_loss": True}), echo).run()


# 4, 6: tokens stay what they are


@pytest.fixture
def merging():
    """A tokenizer that joins "a" and "b" into one token, and a template with nothing between prompt and reply."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    from tenyson.engines.renderers import Renderer

    vocabulary = {"<eos>": 0, "a": 1, "b": 2, "ab": 3, "Q": 4, "A": 5}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("a", "b")]))
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>")
    fast.chat_template = "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}<eos>{% endif %}{% endfor %}"
    return Renderer(fast)


def test_the_prompt_is_a_token_prefix_of_the_whole_also_where_a_tokenizer_would_join_them(merging):
    """Tokenised as a whole, "a" and "b" are one token, which no model ever sees while it plays."""
    one = sample("a", "b")
    ids, mask = merging.conversation(one)
    assert ids == [1, 2, 0]
    assert ids[: mask.index(1)] == merging.prompt(one.prompt)


def test_a_reply_is_not_tokenised_again_between_turns(merging):
    """The model wrote "a", "b" as two tokens; its next turn reads these two, not the one that the text would give."""
    from tenyson.engines.engine import Reply
    from tenyson.engines.play import play
    from tenyson.tasks import Environment, Observation

    class TwoTurns(Environment):
        turn = 0

        def step(self, reply):
            self.turn += 1
            return Observation("Q", done=self.turn == 2)

    class Game(Fixed):
        def environment(self, sample):
            return TwoTurns()

    seen = []

    def generate(prompts, turn):
        seen.extend(prompts)
        return [Reply([1, 2, 0], "stop")]

    [trajectory] = play(Game([]), [sample("A")], merging, generate, max_turns=2)
    assert seen[1][: len(seen[0]) + 3] == [*seen[0], 1, 2, 0]
    assert trajectory.completion_ids[:3] == [1, 2, 0]


# 5, 7, 8: templates


def test_a_template_that_strips_history_is_named_and_training_sees_what_play_sees(configure, tmp_path):
    task = Fixed([sample("a", "think|b", "c", "think|d")] * 4)
    model = {"factory": f"{ODD}:strips_history"}
    SFTJob(configure("sft", model=model, training=QUICK), task).run()
    results = json.loads((tmp_path / "outputs/sft/results.json").read_text())
    assert "template" in {finding["check"] for finding in results["metadata"]["preflight"]}
    [row, *_] = json.loads((tmp_path / "outputs/sft/preflight.json").read_text())["samples"]
    assert "".join(text for text, _ in row) == "<user>a<model>think|b<eos><user>c<model>think|d<eos>"


@pytest.mark.parametrize("job", [RLJob, EvalJob])
def test_weights_are_not_used_with_another_template_unless_told(configure, echo, tmp_path, warnings, job):
    """The adapter's own tokenizer is gone, as it is where only weights are copied."""
    SFTJob(configure("sft", peft=LORA, training=QUICK), echo).run()
    adapter = tmp_path / "adapter"
    shutil.copytree(tmp_path / "outputs/sft/adapter", adapter)
    for file in [*adapter.glob("tokenizer*"), *adapter.glob("chat_template*")]:
        file.unlink()
    model = {"factory": f"{ODD}:other_template", "adapter": str(adapter)}
    training = {**RL, "max_steps": 1}
    sections = {"training": training} if job is RLJob else {"evaluation": {"samples": 4}}
    with pytest.raises(ModelError, match="another chat template"):
        job(configure("next", model=model, **sections), echo).run()
    job(configure("told", model={**model, "allow_other_template": True}, **sections), echo).run()
    assert any("another chat template" in message for message in warnings("told"))


def test_a_bos_that_comes_twice_stops_the_job(configure):
    task = Fixed(
        [Sample("one", [{"role": "user", "content": "a"}], [{"role": "assistant", "content": "b"}])] * 4
    )
    with pytest.raises(PreflightError, match="double_bos"):
        SFTJob(configure("sft", model={"factory": f"{ODD}:begins_with_bos"}, training=QUICK), task).run()


# 9, 10, 11: GRPO that learns nothing


def test_groups_without_variance_are_named_while_training_runs(configure, events, warnings, tmp_path):
    RLJob(configure("rl", training=RL), Fixed([sample("a"), sample("b")] * 8)).run()
    assert any("diagnosis" in message and "zero_variance" in message for message in warnings("rl"))
    results = json.loads((tmp_path / "outputs/rl/results.json").read_text())
    assert "zero_variance" in {finding["check"] for finding in results["metadata"]["diagnosis"]}


def test_groups_without_variance_are_named_before_the_first_step(configure, warnings):
    RLJob(configure("rl", training={**RL, "max_steps": 1}), Fixed([sample("a"), sample("b")] * 8)).run()
    assert any(
        "reward_spread: before training, rewards differ in 0 of 2 groups" in one for one in warnings("rl")
    )


def test_trying_groups_beforehand_changes_nothing_in_the_training(configure, echo, losses, events):
    """Not a random number is used up by it."""
    for name, groups in (("with", 2), ("without", 0)):
        RLJob(configure(name, training={**RL, "preflight_groups": groups}), echo).run()
    assert losses("with") == losses("without")
    said = [[one["completion"] for one in events(name, "RolloutFinished")] for name in ("with", "without")]
    assert said[0] == said[1]


def test_completions_that_are_all_cut_are_named(configure, echo, warnings):
    RLJob(configure("rl", training=RL, generation={"max_new_tokens": 1}), echo).run()
    assert any("truncated: " in message and "max_new_tokens" in message for message in warnings("rl"))


def test_a_diagnosis_may_pause_the_run_until_somebody_looks(configure, tmp_path, events):
    config = configure("rl", training={**RL, "max_steps": 6, "pause_on": ["zero_variance"]})

    def let_it_go_on():
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            time.sleep(0.2)
            log = tmp_path / "outputs/rl/events.jsonl"
            if log.exists() and "paused after step" in log.read_text():
                (tmp_path / "outputs/rl/control").write_text("resume\n")
                return

    helper = threading.Thread(target=let_it_go_on)
    helper.start()
    result = RLJob(config, Fixed([sample("a"), sample("b")] * 8)).run()
    helper.join()
    assert result.status == "success"
    assert any("resumed after step" in event["message"] for event in events("rl", "Notice"))


def test_a_loss_near_zero_is_explained_beforehand(configure, echo, tmp_path):
    RLJob(configure("rl", training={**RL, "max_steps": 1}), echo).run()
    preflight = json.loads((tmp_path / "outputs/rl/preflight.json").read_text())
    [finding] = [one for one in preflight["findings"] if one["check"] == "loss"]
    assert "stays near 0" in finding["cause"]


def test_a_reward_that_cannot_tell_good_from_nonsense_is_named(configure, warnings):
    task = Fixed([sample("a"), sample("b")] * 8, reward=lambda rollout: -len(rollout.text))
    RLJob(configure("rl", training={**RL, "max_steps": 1}), task).run()
    assert any("this reward does not teach the task" in message for message in warnings("rl"))


def test_a_reward_that_raises_stops_the_job(configure):
    task = Fixed([sample("a")] * 8, reward=lambda rollout: float(rollout.text))
    with pytest.raises(PreflightError, match=r"the reward worth raises on a good answer to a: ValueError"):
        RLJob(configure("rl", training=RL), task).run()


# 12: lengths


def test_prompts_as_long_as_all_that_the_model_can_read_stop_the_job(configure):
    """The tiny model reads 256 tokens."""
    with pytest.raises(PreflightError, match="prompt_length: 8 of 8 prompts"):
        RLJob(configure("rl", training=RL), Fixed([sample("a" * 300)] * 8)).run()


# 13, 14, 15, 16: adapters


def test_merging_an_adapter_does_not_drift_the_base(configure, echo, tmp_path):
    """Each merge starts from the files, in float32: a second one gives the same, and the base is untouched."""
    pytest.importorskip("vllm")
    from tenyson.core.files.digest import file_sha256
    from tenyson.engines.engine import EngineSpec
    from tenyson.engines.vllm.engine import _merge
    from tenyson.jobs.models.model import resolve_model

    job = SFTJob(configure("sft", peft=LORA, training=QUICK), echo)
    job.run()
    base = Path(resolve_model(job.config).path)
    before = file_sha256(base / "model.safetensors")
    spec = EngineSpec(model=str(base), adapter=str(tmp_path / "outputs/sft/adapter"), dtype="bfloat16")
    _merge(spec, tmp_path / "one")
    _merge(spec, tmp_path / "two")
    assert file_sha256(tmp_path / "one/model.safetensors") == file_sha256(tmp_path / "two/model.safetensors")
    assert file_sha256(base / "model.safetensors") == before


def test_an_adapter_that_vllm_leaves_out_is_noticed(configure, echo, tmp_path):
    """vLLM that says the same with and without a LoRA request; the real one needs a GPU to serve requests with one."""
    from tenyson.engines.vllm.engine import VllmEngine

    SFTJob(configure("sft", peft=LORA, training=QUICK), echo).run()
    answer = [SimpleNamespace(outputs=[SimpleNamespace(logprobs=[{7: SimpleNamespace(logprob=-0.5)}])])]
    engine = VllmEngine.__new__(VllmEngine)
    engine._llm = SimpleNamespace(generate=lambda *_, **__: answer)
    engine._vllm, engine._lora = SimpleNamespace(SamplingParams=lambda **_: None), object()
    with pytest.raises(EngineError, match="has not applied the adapter"):
        engine._require_effect(str(tmp_path / "outputs/sft/adapter"))


def test_an_adapter_that_was_not_loaded_is_noticed(configure, echo, tmp_path, monkeypatch):
    """PEFT that leaves the adapter as it was made: all of B is zero."""
    import peft

    SFTJob(configure("sft", peft=LORA, training=QUICK), echo).run()
    real = peft.PeftModel.from_pretrained

    def forgetful(*arguments, **named):
        model = real(*arguments, **named)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.data.zero_()
        return model

    monkeypatch.setattr(peft.PeftModel, "from_pretrained", forgetful)
    model = {"factory": "tenyson.testing.tiny:build", "adapter": str(tmp_path / "outputs/sft/adapter")}
    with pytest.raises(ModelError, match=r"the adapter was not loaded as it is written: .*lora_B.* differs"):
        RLJob(configure("rl", model=model, training=RL), echo).run()


def test_an_adapter_is_counted_once_after_a_resume(configure, echo, tmp_path):
    """A finished run that is resumed has nothing left to do, and its adapter is what it was, to the bit."""
    training = {**QUICK, "save_steps": 1}
    SFTJob(configure("run", peft=LORA, training=training), echo).run()
    adapter = tmp_path / "outputs/run/adapter/adapter_model.safetensors"
    before = adapter.read_bytes()
    SFTJob(configure("run", peft=LORA, training={**training, "resume_from_checkpoint": "latest"}), echo).run()
    assert adapter.read_bytes() == before


def test_the_kl_reference_of_an_sft_adapter_is_that_adapter(configure, echo, tmp_path, events):
    """Policy and reference are the same at the first step, so the KL is 0 there; against the bare base it would not be."""
    SFTJob(configure("sft", peft=LORA, training=SFT), echo).run()
    model = {"factory": "tenyson.testing.tiny:build", "adapter": str(tmp_path / "outputs/sft/adapter")}
    RLJob(configure("rl", model=model, training={**RL, "beta": 0.1, "learning_rate": 0.01}), echo).run()
    kl = [event["values"]["kl"] for event in events("rl", "MetricsLogged") if "kl" in event["values"]]
    assert kl[0] == 0
    assert kl[-1] > 0


# 19, 20: the machine


def test_a_model_that_does_not_fit_is_refused_with_the_arithmetic(tmp_path):
    """vLLM's share and full logits are parts of it."""
    config = tmp_path / "rl.yaml"
    task = Path(__file__).parents[1] / "tasks" / "echo_task.py"
    config.write_text(
        f"model: {{name: Qwen/Qwen3-4B}}\ntask: {{module: {task}}}\n"
        "training: {batch_size: 16, num_generations: 8}\ngeneration: {engine: vllm, max_new_tokens: 1024}\n"
    )
    from tenyson.config.load import load_config
    from tenyson.jobs.models.dims import find_dims
    from tenyson.jobs.preflight.machine import check_memory

    plain = load_config(str(config)).model_dump(mode="json")
    [finding] = check_memory(plain, "rl", find_dims(plain["model"]), 16 * 2**30)
    assert finding.severity == "error"
    for part in ("logits", "vLLM", "a second copy of the weights", "optimizer"):
        assert part in finding.cause


def test_versions_outside_the_tested_set_are_named(monkeypatch):
    from tenyson.jobs.preflight import machine

    real = machine.version
    monkeypatch.setattr(machine, "version", lambda name: "1.0.0" if name == "trl" else real(name))
    [finding] = machine.check_versions()
    assert finding.cause == "trl 1.0.0 is installed; Tenyson was tested with 1.16.0"


def test_the_tested_versions_are_those_of_the_constraints():
    from tenyson.jobs.preflight.machine import TESTED

    lines = (Path(__file__).parents[2] / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if "==" in line)
    assert {name: pinned[name] for name in TESTED if name in pinned} == {
        name: version for name, version in TESTED.items() if name in pinned
    }
    assert {"torch", "transformers", "trl", "peft", "accelerate"} <= pinned.keys()


# And four more


def test_wrapped_packing_is_named(configure, echo, warnings):
    training = {**QUICK, "packing": True, "max_length": 64}
    SFTJob(configure("sft", training=training, trl={"packing_strategy": "wrapped"}), echo).run()
    assert any("packing" in message and "bfd" in message for message in warnings("sft"))


@pytest.mark.parametrize("cause", ["SIGTERM", "spot notice"])
def test_a_notice_during_evaluation_still_ends_with_a_checkpoint(configure, tmp_path, cause):
    """The evaluation takes most of the time here, so that the notice nearly always falls into it."""
    import yaml

    training = {"max_steps": 100_000, "batch_size": 4, "eval_steps": 1, "eval_samples": 64}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(configure("run", training=training)))
    task = Path(__file__).parents[1] / "tasks" / "echo_task.py"
    command = [
        sys.executable,
        "-m",
        "tenyson.runner",
        "--job-type",
        "sft",
        "--config",
        file,
        "--task-module",
        task,
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ)
    folder = tmp_path / "outputs/run"
    deadline = time.monotonic() + 120
    while not (
        (folder / "events.jsonl").exists() and '"eval_loss":' in (folder / "events.jsonl").read_text()
    ):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    if cause == "SIGTERM":
        process.send_signal(signal.SIGTERM)
    else:
        (folder / "spot-notice").write_text("in 2 minutes\n")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    stopped = json.loads((folder / "stopped.json").read_text())
    assert stopped["reason"] == cause
    assert (folder / "checkpoints/LATEST").read_text() == f"step-{stopped['step']}\n"
    state = json.loads((folder / f"checkpoints/step-{stopped['step']}/trainer_state.json").read_text())
    assert 0 < state["global_step"] == stopped["step"] < 100_000
    metadata = json.loads((folder / "results.json").read_text())["metadata"]
    assert (metadata["stop_reason"], metadata["steps"]) == (cause, stopped["step"])
    result = json.loads((folder / "job_result.json").read_text())
    assert (result["status"], result["stop_reason"]) == ("stopped", cause)
    assert result["spot_interruption"] is (True if cause == "spot notice" else None)


def test_a_damaged_latest_checkpoint_is_named_and_the_one_before_is_used(
    configure, echo, tmp_path, warnings, events
):
    training = {**QUICK, "max_steps": 4, "save_steps": 2}
    SFTJob(configure("run", training=training), echo).run()
    weights = tmp_path / "outputs/run/checkpoints/step-4/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    SFTJob(configure("run", training={**training, "resume_from_checkpoint": "latest"}), echo).run()
    assert any("step-4" in message and "is damaged" in message for message in warnings("run"))
    assert events("run", "AttemptBegan")[-1]["step"] == 2


@pytest.mark.parametrize("after", ["a fall-back", "a new start"])
def test_the_last_two_checkpoints_of_this_attempt_are_kept_and_not_those_of_a_former_one(
    configure, echo, tmp_path, after
):
    """Which may have higher numbers, and may be damaged."""
    training = {**QUICK, "max_steps": 5, "save_steps": 2}
    SFTJob(configure("run", training=training), echo).run()
    checkpoints = tmp_path / "outputs/run/checkpoints"
    assert {path.name for path in checkpoints.glob("step-*")} == {"step-4", "step-5"}
    if after == "a fall-back":
        (checkpoints / "step-5/model.safetensors").write_bytes(b"")
        training |= {"max_steps": 6, "resume_from_checkpoint": "latest"}
    else:
        training |= {"max_steps": 3, "save_steps": 1}
    SFTJob(configure("run", training=training), echo).run()
    kept = {"step-4", "step-6"} if after == "a fall-back" else {"step-2", "step-3"}
    assert {path.name for path in checkpoints.glob("step-*")} == kept


def test_a_resume_with_another_seed_is_told_that_the_order_of_the_data_is_another(configure, echo, warnings):
    training = {**QUICK, "save_steps": 1}
    SFTJob(configure("run", training=training), echo).run()
    longer = {**training, "max_steps": 3, "resume_from_checkpoint": "latest"}
    SFTJob(configure("run", training=longer), echo).run()
    assert not any("seed" in one for one in warnings("run"))
    SFTJob(configure("run", training=longer | {"max_steps": 4}, run={"seed": 5}), echo).run()
    assert any("written with run.seed 0 and is resumed with 5" in one for one in warnings("run"))


def test_a_checkpoint_that_another_run_was_made_from_is_kept(configure, echo, tmp_path):
    """An evaluation took the adapter of step 1; the run that wrote it goes on, and keeps two others and that one."""
    training = {**QUICK, "max_steps": 2, "save_steps": 1}
    SFTJob(configure("run", peft=LORA, training=training), echo).run()
    checkpoints = tmp_path / "outputs/run/checkpoints"
    model = {"factory": "tenyson.testing.tiny:build", "adapter": str(checkpoints / "step-1")}
    EvalJob(configure("eval", model=model, evaluation={"samples": 4}), echo).run()
    longer = {**training, "max_steps": 5, "resume_from_checkpoint": "latest"}
    SFTJob(configure("run", peft=LORA, training=longer), echo).run()
    assert {path.name for path in checkpoints.glob("step-*")} == {"step-1", "step-4", "step-5"}
    assert (checkpoints / "step-1/used-by").read_text() == "eval\n"


def test_a_full_disk_costs_a_checkpoint_and_not_the_run(configure, echo, tmp_path, warnings, monkeypatch):
    from tenyson.jobs.checkpoints import trainer_mixin

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trainer_mixin, "publish", full)
    result = SFTJob(configure("run", training={**QUICK, "save_steps": 1}), echo).run()
    assert result.status == "success"
    assert any("a checkpoint was not written: No space left on device" in one for one in warnings("run"))
    metadata = json.loads((tmp_path / "outputs/run/results.json").read_text())["metadata"]
    assert metadata["failed_saves"] == 2
    assert not list((tmp_path / "outputs/run/checkpoints").glob("*step*"))


@pytest.fixture
def small_disk(tmp_path):
    """The checkpoints of the run "run" lie on a file system of 2 MB, which holds about four."""
    folder = tmp_path / "outputs/run/checkpoints"
    folder.mkdir(parents=True)
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.may_skip(reason="a small file system can only be mounted by root")
@pytest.mark.parametrize("processes", [1, 2])
def test_a_disk_that_fills_up_costs_checkpoints_and_not_the_run(
    configure, tmp_path, warnings, small_disk, processes
):
    """Each file of a checkpoint is once the one that finds no room, also those that training waits for."""
    import yaml

    training = {"max_steps": 40, "batch_size": 4, "save_steps": 1, "learning_rate": 0.001}
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(configure("run", training=training, run={"allow": ["disk"]})))
    task = Path(__file__).parents[1] / "tasks" / "crowded_task.py"
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"] if processes == 2 else []
    command = [sys.executable, *launch, "-m", "tenyson.runner", "--job-type", "sft", "--config", file]
    done = subprocess.run(
        [*command, "--task-module", task],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"CROWDED": str(small_disk)},
    )
    assert done.returncode == 0, done.stderr
    metadata = json.loads((tmp_path / "outputs/run/results.json").read_text())["metadata"]
    told = [one for one in warnings("run") if "a checkpoint was not written" in one]
    assert metadata["steps"] == 40
    assert metadata["failed_saves"] == len(told) > 20
    assert all("No space left on device" in one for one in told)
    assert (small_disk / "LATEST").read_text() == "step-40\n"
    assert {path.name for path in small_disk.glob("*step*")} == {"step-39", "step-40"}


# The loss rises at once at this rate, so the first checkpoint stays the best one.
WORSE = {"batch_size": 16, "learning_rate": 10.0, "lr_scheduler": "constant", "eval_steps": 1, "eval_samples": 16,
         "early_stopping_patience": 100, "max_length": 64}  # fmt: skip


@pytest.mark.parametrize("finished", [False, True], ids=["goes on", "had finished"])
def test_a_job_folder_that_was_moved_keeps_its_best_checkpoint(
    configure, echo, tmp_path, monkeypatch, finished
):
    """Also where its paths were relative ones: the best weights are the result, and retention knows them."""
    monkeypatch.chdir(tmp_path)
    training = {**WORSE, "max_steps": 3}
    SFTJob(configure("run", training=training, run={"output_dir": "./out"}), echo).run()
    shutil.move("out", "moved")
    longer = training | {"max_steps": 3 if finished else 6, "resume_from_checkpoint": "latest"}
    SFTJob(configure("run", training=longer, run={"output_dir": "./moved"}), echo).run()
    run = tmp_path / "moved/run"
    metadata = json.loads((run / "results.json").read_text())["metadata"]
    assert metadata["best_checkpoint"] == "moved/run/checkpoints/step-1"
    best = run / "checkpoints/step-1/model.safetensors"
    assert (run / "model/model.safetensors").read_bytes() == best.read_bytes()


def test_a_best_checkpoint_that_is_gone_is_told_at_once(configure, echo, tmp_path, warnings):
    """And the result does not name it."""
    SFTJob(configure("run", training={**WORSE, "max_steps": 3}), echo).run()
    shutil.rmtree(tmp_path / "outputs/run/checkpoints/step-1")
    longer = {**WORSE, "max_steps": 5, "resume_from_checkpoint": "latest"}
    SFTJob(configure("run", training=longer), echo).run()
    assert any("the best checkpoint, step-1, is not there" in one for one in warnings("run"))
    metadata = json.loads((tmp_path / "outputs/run/results.json").read_text())["metadata"]
    assert metadata["best_checkpoint"] is None


def test_a_damaged_best_checkpoint_is_not_the_result(configure, echo, tmp_path, warnings):
    SFTJob(configure("run", training={**WORSE, "max_steps": 3}), echo).run()
    weights = tmp_path / "outputs/run/checkpoints/step-1/model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    longer = {**WORSE, "max_steps": 5, "resume_from_checkpoint": "latest"}
    SFTJob(configure("run", training=longer), echo).run()
    assert any("the best checkpoint, step-1, is damaged" in one for one in warnings("run"))
    trained = (tmp_path / "outputs/run/model/model.safetensors").read_bytes()
    assert trained == (tmp_path / "outputs/run/checkpoints/step-5/model.safetensors").read_bytes()


def test_a_run_made_from_another_ones_checkpoint_keeps_that_ones_best(configure, echo, tmp_path):
    """It is pinned there, as the checkpoint that was resumed from is."""
    SFTJob(configure("first", training={**WORSE, "max_steps": 3}), echo).run()
    checkpoints = tmp_path / "outputs/first/checkpoints"
    resume = {**WORSE, "max_steps": 5, "resume_from_checkpoint": str(checkpoints / "step-3")}
    SFTJob(configure("second", training=resume), echo).run()
    trained = (tmp_path / "outputs/second/model/model.safetensors").read_bytes()
    assert trained == (checkpoints / "step-1/model.safetensors").read_bytes()
    assert (checkpoints / "step-1/used-by").read_text() == "second\n"
