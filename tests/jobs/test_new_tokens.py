"""`model.new_tokens`: tokens that a model lacks are one token each from then on, are learnt, saved, resumed and measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.soak.resume_matrix import SFT, verify

from tenyson.config.load import parse_config
from tenyson.errors import ConfigError
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.models.model import load_tokenizer, resolve_model
from tenyson.jobs.sft import SFTJob

pytestmark = pytest.mark.train

TINY = "tenyson.testing.tiny:build"
NEW = ["<go>"]
TIED = {"modules_to_save": ["embed_tokens"], "ensure_weight_tying": True}
ADAPTER = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear"}
LONG = {"max_steps": 80, "batch_size": 16, "learning_rate": 0.01}


@pytest.fixture(scope="module")
def marked():
    """The task whose answers begin with the new token."""
    from tenyson.tasks.load import load_task

    return load_task(str(Path(__file__).parents[1] / "tasks" / "marked_task.py"), {})


@pytest.fixture(scope="module")
def untied(tmp_path_factory):
    """The tiny model with an lm_head of its own."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tenyson.testing.tiny import build

    folder = tmp_path_factory.mktemp("untied")
    build(folder, 0)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = type(model.lm_head.weight)(model.lm_head.weight.detach().clone())
    model.save_pretrained(folder)
    assert AutoTokenizer.from_pretrained(folder).get_vocab()
    return folder


def warned(result):
    found = json.loads((Path(result.local_output_dir) / "results.json").read_text())["metadata"]["preflight"]
    return [one for one in found if one["check"] == "new_tokens"]


def source_of(**model):
    return resolve_model(parse_config({"model": model}))


def test_a_new_token_is_one_token_whose_embedding_is_the_mean_of_the_others():
    """The model of the configuration is left as it is; the same tokens give the same directory."""
    import torch
    from transformers import AutoModelForCausalLM

    before, after = source_of(factory=TINY), source_of(factory=TINY, new_tokens=NEW)
    assert source_of(factory=TINY, new_tokens=NEW).path == after.path != before.path
    tokenizer = load_tokenizer(after)
    assert tokenizer.tokenize("a<go>b") == ["a", "<go>", "b"]
    assert tokenizer.chat_template == load_tokenizer(before).chat_template
    old, new = (AutoModelForCausalLM.from_pretrained(one.path) for one in (before, after))
    rows, mean = new.get_input_embeddings().weight, old.get_input_embeddings().weight.double().mean(0)
    assert torch.equal(rows[:-1], old.get_input_embeddings().weight)
    assert torch.equal(rows[-1], mean.float())
    assert new.generation_config.eos_token_id == old.generation_config.eos_token_id


def test_a_token_that_the_model_has_keeps_its_embedding():
    """A later job may name the tokens that an earlier one has trained."""
    after = source_of(factory=TINY, new_tokens=NEW)
    assert source_of(name=after.path, new_tokens=[*NEW, "a"]).path == after.path


def test_tokens_that_somebody_added_to_a_tokenizer_are_given_embeddings(tmp_path):
    """As a special token, which the folder's owner wants."""
    from tenyson.testing.tiny import build

    build(tmp_path, 0)
    tokenizer = load_tokenizer(source_of(name=str(tmp_path)))
    tokenizer.add_special_tokens({"additional_special_tokens": ["<tool>"]})
    tokenizer.save_pretrained(tmp_path)
    source = source_of(name=str(tmp_path), new_tokens=["<tool>"])
    assert source.path != str(tmp_path)
    assert "<tool>" in load_tokenizer(source).all_special_tokens


@pytest.mark.parametrize(
    ("tokens", "told"), [(["<a>", "<a>"], "'<a>' is given twice"), ([" "], "' ' is no token")]
)
def test_what_is_no_new_token_is_refused(tokens, told):
    """At once, by the schema."""
    with pytest.raises(ConfigError, match=told):
        parse_config({"model": {"name": "m", "new_tokens": tokens}})


@pytest.mark.parametrize("trained", ["all weights", "tied", "untied"])
def test_a_new_token_is_learnt_and_written_by_the_trained_model(configure, marked, untied, trained):
    """All weights are trained, or an adapter with the embeddings; an evaluation finds either."""
    model = {"name": str(untied)} if trained == "untied" else {"factory": TINY}
    peft = None
    if trained == "tied":
        peft = ADAPTER | TIED
    elif trained == "untied":
        peft = ADAPTER | {"modules_to_save": ["embed_tokens", "lm_head"]}
    sections = {"peft": peft} if peft else {}
    result = SFTJob(
        configure("sft", model=model | {"new_tokens": NEW}, training=LONG, **sections), marked
    ).run()
    assert warned(result) == []
    after = {"name": "sft"} if not peft else model | {"new_tokens": NEW, "adapter": "sft"}
    measured = EvalJob(configure("after", model=after), marked).run()
    assert measured.metrics["marked"] > 0.9


def test_an_adapter_that_leaves_new_tokens_untrained_is_warned_of(configure, marked, untied):
    """With what to set; ids for those whose rows PEFT can train by themselves."""
    found = {}
    rows = {"trainable_token_indices": [99]}
    for name, model, peft in (
        ("tied", {"factory": TINY}, {}),
        ("untied", {"name": str(untied)}, {}),
        ("read", {"name": str(untied)}, rows),
    ):
        config = configure(
            name, model=model | {"new_tokens": NEW}, training={"max_steps": 1}, peft=ADAPTER | peft
        )
        [found[name]] = warned(SFTJob(config, marked).run())
    assert "trains neither reading '<go>' nor writing it" in found["tied"]["cause"]
    assert "[embed_tokens] and peft.ensure_weight_tying: true" in found["tied"]["next_step"]
    assert "[embed_tokens, lm_head], peft.trainable_token_indices: [99]" in found["untied"]["next_step"]
    assert "trains reading '<go>', and not writing it" in found["read"]["cause"]


def test_a_killed_and_resumed_training_of_new_tokens_is_the_same_to_the_bit(tmp_path):
    """Embeddings are part of the adapter's checkpoint."""
    sections = {"peft": ADAPTER | TIED, "new_tokens": NEW, "task": "marked_task.py"}
    verdict = verify(tmp_path, ("sft", sections, SFT | {"kill": 7}))
    assert verdict["differences"] == []
    assert verdict["identical"]
