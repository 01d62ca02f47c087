"""One renderer serves SFT, rollouts and evaluation; it never tokenises a reply again."""

from __future__ import annotations

import pytest

from tenyson.errors import ModelError
from tenyson.tasks import Message, Sample

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
FIRST = GAME.completion[0]


def user(text: str) -> Message:
    return {"role": "user", "content": text}


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
    from tenyson.engines.renderers import Renderer

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
    assert renderer.raw(renderer.between(FIRST, [user("no")], ended=False)) == (
        "<|im_end|>\n<|im_start|>user\nno<|im_end|>\n<|im_start|>assistant\n"
    )
    assert renderer.between(FIRST, [user("no")], ended=False)[1:] == renderer.between(FIRST, [user("no")])


def test_text_leaves_out_the_stop_token(renderer):
    """A task sees what the model said, not how it ended."""
    assert renderer.text(renderer.reply("first")) == "first"


def test_a_tokenizer_without_a_chat_template_is_refused():
    """Guessing a format would train on something nobody asked for."""
    from tenyson.engines.renderers import Renderer

    with pytest.raises(ModelError, match="no chat template"):
        Renderer(make_tokenizer(None))


def test_a_template_whose_replies_never_end_is_refused():
    """Without a stop token after a reply, generation could never learn to stop."""
    from tenyson.engines.renderers import Renderer

    with pytest.raises(ModelError, match="not with a special token"):
        Renderer(make_tokenizer("{% for message in messages %}{{ message['content'] }}\n{% endfor %}"))


def test_a_template_that_refuses_system_messages_is_named(renderer):
    """The template's own complaint reaches the user with the roles that it was given."""
    from tenyson.engines.renderers import Renderer

    strict = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}" + CHATML
    )
    with pytest.raises(ModelError, match="no system role"):
        Renderer(make_tokenizer(strict)).prompt(GAME.prompt)


def test_the_fingerprint_changes_with_the_template_and_only_then(renderer):
    """Two models with one fingerprint read prompts alike."""
    from tenyson.engines.renderers import Renderer

    assert Renderer(make_tokenizer(CHATML)).fingerprint() == renderer.fingerprint()
    assert (
        Renderer(make_tokenizer(CHATML.replace("system", "SYSTEM") + " ")).fingerprint()
        != renderer.fingerprint()
    )


def test_the_fingerprint_changes_with_what_the_tokenizer_does_to_a_text():
    """The vocabulary is the same: letters are lowered, merges come in another order, special tokens change their parts."""
    from tokenizers import Tokenizer, models, normalizers
    from transformers import PreTrainedTokenizerFast

    from tenyson.engines.renderers import Renderer

    def make(merges, **special):
        vocabulary = {"<eos>": 0, "<other>": 1, "a": 2, "b": 3, "ab": 4, "ba": 5}
        backend = Tokenizer(models.BPE(vocabulary, merges))
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>", **special)
        tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% if m['role'] == 'assistant' %}<eos>{% endif %}{% endfor %}"
        return tokenizer

    first = [("a", "b"), ("b", "a")]
    lowered = make(first)
    lowered.backend_tokenizer.normalizer = normalizers.Lowercase()
    tokenizers = [
        make(first),
        make(first[::-1]),
        lowered,
        make(first, bos_token="<other>"),
        make(first, unk_token="<other>"),
    ]
    renderers = list(map(Renderer, tokenizers))
    assert renderers[0].prompt([{"role": "user", "content": "aba"}]) != renderers[1].prompt(
        [{"role": "user", "content": "aba"}]
    )
    assert len({one.fingerprint() for one in renderers}) == 5


@pytest.mark.parametrize("which", ["the tiny model's", "SmolLM2's"])
def test_a_tokenizer_keeps_its_fingerprint_when_it_is_used_saved_and_loaded(tmp_path, which, request):
    """Otherwise a job would refuse the weights that it has trained itself."""
    from transformers import AutoTokenizer

    from tenyson.engines.renderers import Renderer
    from tenyson.testing.tiny import build

    directory = tmp_path / "model"
    if which == "SmolLM2's":
        directory = request.getfixturevalue("smollm2")
    else:
        build(directory, 0)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    fingerprint = Renderer(tokenizer).fingerprint()
    tokenizer(["one", "one two"], padding=True, truncation=True, max_length=4)
    assert Renderer(tokenizer).fingerprint() == fingerprint
    tokenizer.save_pretrained(tmp_path / "saved")
    assert Renderer(AutoTokenizer.from_pretrained(tmp_path / "saved")).fingerprint() == fingerprint


def test_templates_that_strip_history_still_render_the_bridge():
    """Some templates rewrite earlier replies (Qwen3 drops their reasoning); what stands between stays right."""
    from tenyson.engines.renderers import Renderer

    stripping = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{% if message['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
        "{{ message['content'] }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    renderer = Renderer(make_tokenizer(stripping))
    assert (
        renderer.raw(renderer.between(FIRST, [user("go")]))
        == "\n<|im_start|>user\ngo<|im_end|>\n<|im_start|>assistant\n"
    )


BLANK_LINE = (
    "{% for message in messages %}{{ message['role'] }}: {{ message['content'] }}\n\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)


def with_added(template: str, *added: str, special: bool = False):
    from tokenizers import AddedToken

    tokenizer = make_tokenizer(template)
    tokenizer.add_tokens([AddedToken(text, special=special, normalized=False) for text in added])
    return tokenizer


def test_a_blank_line_in_the_vocabulary_ends_no_reply():
    """A turn ends on a special token; an added one that is none occurs in what people write."""
    from tenyson.engines.renderers import Renderer

    with pytest.raises(ModelError, match=r"'\\n\\n', an added token that is not a special one"):
        Renderer(with_added(BLANK_LINE, "\n\n"))
    # Where the template closes its replies, such a token changes nothing.
    plain, added = Renderer(make_tokenizer(CHATML)), Renderer(with_added(CHATML, "\n\n", "<|im_end|>\n"))
    assert added.turn_end == plain.turn_end == "<|im_end|>"
    assert added.stop_token_ids == plain.stop_token_ids


def test_a_word_that_was_added_to_the_vocabulary_ends_no_reply():
    """Domain words are added to tokenizers every day; one may well come first after a reply."""
    from tenyson.engines.renderers import Renderer

    template = CHATML.replace("<|im_end|>\n{% endfor %}", " OVER{% endfor %}")
    with pytest.raises(ModelError, match="' OVER', an added token"):
        Renderer(with_added(template, " OVER"))


def test_an_added_token_that_is_special_or_ends_generation_ends_a_turn():
    """Some fine-tunes add their end of turn without the flag, and name it in generation_config.json."""
    from tenyson.engines.renderers import Renderer

    template = CHATML.replace("<|im_end|>", "<|turn_end|>")
    flagged = with_added(template, "<|turn_end|>", special=True)
    assert Renderer(flagged).turn_end == "<|turn_end|>"
    unflagged = with_added(template, "<|turn_end|>")
    with pytest.raises(ModelError, match="not a special one"):
        Renderer(unflagged)
    renderer = Renderer(unflagged, [unflagged.convert_tokens_to_ids("<|turn_end|>")])
    assert renderer.turn_end == "<|turn_end|>"


def test_ordinary_text_that_generation_config_ends_on_ends_no_reply():
    """A list of EOS tokens may hold a newline; a reply that has one continues."""
    from tenyson.engines.renderers import Renderer

    tokenizer = with_added(CHATML, "\n\n")
    newline, blank = tokenizer.encode("\n")[0], tokenizer.convert_tokens_to_ids("\n\n")
    end, pad = tokenizer.convert_tokens_to_ids(["<|im_end|>", "<pad>"])
    renderer = Renderer(tokenizer, [newline, blank, end, pad])
    assert set(renderer.stop_token_ids) == {end, pad}
    assert set(renderer.unused_eos) == {newline, blank}


def test_variables_of_the_template_act_on_every_rendering_and_on_the_fingerprint():
    """What is trained and what is played read the same prompt; another value is another way to read it."""
    from tenyson.engines.renderers import Renderer

    template = CHATML + "{% if add_generation_prompt and not think %}<nothink>{% endif %}"
    tokenizer = make_tokenizer(template.replace("not think", "think is defined and not think"))
    with_it = Renderer(tokenizer, (), {"think": False})
    without = Renderer(tokenizer)
    question = [{"role": "user", "content": "wrong"}]
    assert with_it.raw(with_it.prompt(question)).endswith("<nothink>")
    assert not without.raw(without.prompt(question)).endswith("<nothink>")
    assert with_it.raw(with_it.between(FIRST, [user("wrong")])).endswith("<nothink>")
    assert with_it.fingerprint() != without.fingerprint() == Renderer(tokenizer, (), {}).fingerprint()
    with pytest.raises(ModelError, match="the chat template has no variable thinking"):
        Renderer(tokenizer, (), {"thinking": False})


HARMONY = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}"
    "{% if message['role'] == 'assistant' %}<|channel|>final{% endif %}<|message|>{{ message['content'] }}"
    "{% if message['role'] == 'assistant' and loop.last %}<|return|>{% else %}<|im_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{% endif %}"
)


def test_a_template_with_channels_trains_them_and_takes_them_out_of_the_text():
    """GPT-OSS: generation has to write the header of a reply, and a task sees what follows it."""
    from tenyson.engines.renderers import Renderer

    tokenizer = with_added(HARMONY, "<|channel|>", "<|message|>", "<|return|>", special=True)
    renderer = Renderer(tokenizer)
    single = Sample(id="one", prompt=GAME.prompt, completion=GAME.completion[:1])
    ids, mask = renderer.conversation(single)
    reply = ids[mask.index(1) :]
    assert renderer.raw(reply) == "<|channel|>final<|message|>first<|return|>"
    assert reply == renderer.reply("first")
    assert renderer.text(reply) == "first"


def test_a_template_whose_replies_end_otherwise_in_a_conversation_is_refused_for_several_turns():
    """One turn is rendered right; a reply that ended on one token cannot be followed as if it had ended on another."""
    from tenyson.engines.renderers import Renderer

    template = HARMONY.replace("<|channel|>final", "").replace(
        "{% if message['role'] == 'assistant' %}{% endif %}<|message|>", "\n"
    )
    template = template.replace("assistant{% endif %}", "assistant\n{% endif %}")
    renderer = Renderer(with_added(template, "<|return|>", special=True))
    assert renderer.turn_end == "<|return|>"
    single = Sample(id="one", prompt=GAME.prompt, completion=GAME.completion[:1])
    assert renderer.raw(renderer.conversation(single)[0]).endswith("first<|return|>")
    with pytest.raises(
        ModelError, match=r"'<\|im_end\|>' within a conversation and with '<\|return\|>' at its end"
    ):
        renderer.conversation(GAME)
