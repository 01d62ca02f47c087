"""One renderer serves SFT, rollouts and evaluation; it never tokenises a reply again."""

from __future__ import annotations

import pytest

from tenyson.errors import ModelError
from tenyson.tasks import Sample

pytestmark = pytest.mark.train

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

GAME = Sample(
    id="game",
    prompt=[{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Begin"}],
    completion=[
        {"role": "assistant", "content": "first"},
        {"role": "user", "content": "wrong"},
        {"role": "assistant", "content": "second"},
    ],
)


def make_tokenizer(template: str | None):
    """A byte-level BPE tokenizer with merges of its own, so that tokenising twice could differ."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|im_start|>", "<|im_end|>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["first second wrong Begin assistant user system\n"] * 50, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<pad>",
        extra_special_tokens=["<|im_start|>"],
    )
    fast.chat_template = template
    return fast


@pytest.fixture(scope="module")
def renderer():
    from tenyson.engines.renderer import Renderer

    return Renderer(make_tokenizer(CHATML))


def test_a_conversation_renders_as_the_chat_template_says(renderer):
    """What SFT trains on is the template's own text, up to the last reply's end."""
    ids, _ = renderer.conversation(GAME)
    assert renderer.raw(ids) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nBegin<|im_end|>\n"
        "<|im_start|>assistant\nfirst<|im_end|>\n<|im_start|>user\nwrong<|im_end|>\n"
        "<|im_start|>assistant\nsecond<|im_end|>"
    )


def test_only_replies_and_their_ends_are_learnt(renderer):
    """The mask holds each reply and the token that ends it, and nothing of the user's."""
    ids, mask = renderer.conversation(GAME)
    learnt = [token for token, learn in zip(ids, mask, strict=True) if learn]
    assert renderer.raw(learnt) == "first<|im_end|>second<|im_end|>"


def test_the_prompt_is_a_token_prefix_of_the_whole_conversation(renderer):
    """Otherwise training would see other tokens than generation."""
    ids, _ = renderer.conversation(GAME)
    prompt = renderer.prompt(GAME.prompt)
    assert ids[: len(prompt)] == prompt


def test_a_reply_that_was_cut_off_gets_its_end_before_the_next_message(renderer):
    """The environment's tokens close the turn that the model did not close."""
    assert renderer.raw(renderer.between("no", ended=False)) == (
        "<|im_end|>\n<|im_start|>user\nno<|im_end|>\n<|im_start|>assistant\n"
    )
    assert renderer.between("no", ended=False)[1:] == renderer.between("no")


def test_text_leaves_out_the_stop_token(renderer):
    """A task sees what the model said, not how it ended."""
    assert renderer.text(renderer.reply("first")) == "first"


def test_a_tokenizer_without_a_chat_template_is_refused():
    """Guessing a format would train on something nobody asked for."""
    from tenyson.engines.renderer import Renderer

    with pytest.raises(ModelError, match="no chat template"):
        Renderer(make_tokenizer(None))


def test_a_template_whose_replies_never_end_is_refused():
    """Without a stop token after a reply, generation could never learn to stop."""
    from tenyson.engines.renderer import Renderer

    with pytest.raises(ModelError, match="not with a special token"):
        Renderer(make_tokenizer("{% for message in messages %}{{ message['content'] }}\n{% endfor %}"))


def test_a_template_that_refuses_system_messages_is_named(renderer):
    """The template's own complaint reaches the user with the roles that it was given."""
    from tenyson.engines.renderer import Renderer

    strict = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
    )
    with pytest.raises(ModelError, match="no system role"):
        Renderer(make_tokenizer(strict)).prompt(GAME.prompt)


def test_the_fingerprint_changes_with_the_template_and_only_then(renderer):
    """Two models with one fingerprint read prompts alike."""
    from tenyson.engines.renderer import Renderer

    assert Renderer(make_tokenizer(CHATML)).fingerprint() == renderer.fingerprint()
    assert (
        Renderer(make_tokenizer(CHATML.replace("system", "SYSTEM") + " ")).fingerprint()
        != renderer.fingerprint()
    )


def test_templates_that_strip_history_still_render_the_bridge():
    """Some templates rewrite earlier replies (Qwen3 drops their reasoning); what stands between stays right."""
    from tenyson.engines.renderer import Renderer

    stripping = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% if message['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
        "{{ message['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    renderer = Renderer(make_tokenizer(stripping))
    assert renderer.raw(renderer.between("go")) == "\n<|im_start|>user\ngo<|im_end|>\n<|im_start|>assistant\n"
