"""Conversations whose keys and values are kept from turn to turn say what they would say without."""

from __future__ import annotations

import pytest

from tenyson.engines.engine import Sampling

pytestmark = pytest.mark.train

VOCABULARY = 24
STOP = 2
PROMPTS = [[1, 5], [1, 5], [1, 6, 7, 8, 9], [1, 5], [1, 10, 11]]
SIZE = {"vocab_size": VOCABULARY, "max_position_embeddings": 128, "eos_token_id": STOP, "pad_token_id": 0}
SMALL = SIZE | {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.4,
}


def model_of(family: str, attention: str = "sdpa", **settings):
    import torch
    import transformers

    config = getattr(transformers, f"{family}Config")(**settings)
    config._attn_implementation = attention
    torch.manual_seed(3)
    name = f"{family}LMHeadModel" if family == "GPT2" else f"{family}ForCausalLM"
    return getattr(transformers, name)(config).eval()


def played(generate, turns: int = 4) -> list[list[int]]:
    """Whole conversations: after each turn a world of uneven answers, and one conversation that ends."""
    prompts, ended = [list(prompt) for prompt in PROMPTS], []
    for turn in range(turns):
        replies = generate(prompts)
        prompts = [
            prompt + reply.ids + [3 + (row + turn) % 5] * (1 + (row * 2 + turn) % 4)
            for row, (prompt, reply) in enumerate(zip(prompts, replies, strict=True))
        ]
        ended.append(prompts.pop(turn % len(prompts)))
    return ended + prompts


def whole(model, sampling: Sampling):
    from tenyson.engines.transformers import generate_replies

    # One by one: where prompts are padded, transformers counts the padding as repeated.
    return lambda prompts: [generate_replies(model, [one], sampling, 0)[0] for one in prompts]


def kept(model, sampling: Sampling):
    from tenyson.engines.decoding.turns import Turns

    turns = Turns(model)
    return lambda prompts: turns.generate(prompts, sampling)


FAMILIES = {
    "Llama": ("Llama", "sdpa", SMALL),
    "Llama, eager": ("Llama", "eager", SMALL),
    "Qwen3": ("Qwen3", "sdpa", SMALL | {"head_dim": 8}),
    "GPT-2": (
        "GPT2",
        "sdpa",
        SIZE | {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128, "initializer_range": 0.4},
    ),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_greedy_replies_are_those_of_generate_over_the_whole_prompts(name):
    from tenyson.engines.decoding.support import why_not

    family, attention, settings = FAMILIES[name]
    model = model_of(family, attention, **settings)
    sampling = Sampling(7, temperature=0, stop_token_ids=(STOP, 4, 9), repetition_penalty=1.3)
    assert why_not(model) is None
    expected = played(whole(model, sampling))
    assert len({tuple(ids) for ids in expected}) > 3, "the replies must depend on the conversation"
    assert played(kept(model, sampling)) == expected


def test_a_turn_computes_its_new_tokens_alone_and_a_common_prompt_once():
    from tenyson.engines.decoding.turns import Turns

    model = model_of("Llama", **SMALL)
    computed: list[tuple[int, int]] = []
    model.register_forward_pre_hook(
        lambda _, __, given: computed.append(tuple(given["input_ids"].shape)), with_kwargs=True
    )
    turns, sampling = Turns(model), Sampling(1, temperature=0)
    first = [[1, 5, 6, 7]] * 6 + [[1, 8, 9, 10]] * 6
    replies = turns.generate(first, sampling)
    assert computed == [(2, 4)]
    turns.generate([ids + reply.ids + [3] for ids, reply in zip(first, replies, strict=True)][2:], sampling)
    assert computed[1:] == [(10, 2)]


def test_prompts_that_continue_nothing_are_computed_whole():
    model = model_of("Llama", **SMALL)
    sampling = Sampling(5, temperature=0)
    generate, fresh = kept(model, sampling), kept(model, sampling)
    generate([[1, 5], [1, 6]])
    other = [[1, 7, 8], [1, 6]]
    assert [one.ids for one in generate(other)] == [one.ids for one in fresh(other)]


def test_long_prompts_are_computed_in_pieces_of_like_length(monkeypatch):
    from tenyson.engines.decoding import turns

    model = model_of("Llama", **SMALL)
    sampling = Sampling(6, temperature=0, stop_token_ids=(STOP,))
    expected = played(whole(model, sampling))
    monkeypatch.setattr(turns, "_TOKENS_AT_ONCE", 4)
    assert played(kept(model, sampling)) == expected


def test_a_row_draws_the_same_tokens_whichever_others_end_before_it():
    import torch

    model = model_of("Llama", **SMALL | {"initializer_range": 0.05})
    replies = []
    for stops in ((), (STOP, 3, 4, 5, 6, 7, 8)):
        torch.manual_seed(0)
        sampling = Sampling(12, stop_token_ids=stops)
        replies.append([one.ids for one in kept(model, sampling)([[1, row] for row in range(8)])])
    endless, ending = replies
    assert [reply[: len(short)] for reply, short in zip(endless, ending, strict=True)] == ending
    assert max(map(len, ending)) > 1, "some must go on after others have ended"
    assert min(map(len, ending)) < max(map(len, ending))


def test_drawn_tokens_have_the_probabilities_of_transformers_own_warpers():
    """Random numbers on an even grid hit each token as often as its probability says."""
    import torch
    from transformers import MinPLogitsWarper, TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

    from tenyson.engines.decoding.sampler import Sampler

    torch.manual_seed(0)
    logits, draws = torch.randn(1, VOCABULARY) * 2, 20_000
    warped = logits
    for warper in (
        TemperatureLogitsWarper(0.7),
        TopKLogitsWarper(12),
        TopPLogitsWarper(0.9),
        MinPLogitsWarper(0.02),
    ):
        warped = warper(None, warped)
    expected = warped.softmax(-1)[0]
    assert 3 < (expected > 0).sum() < 12
    grid = (torch.arange(draws) + 0.5) / draws
    sampler = Sampler(Sampling(1, temperature=0.7, top_k=12, top_p=0.9, min_p=0.02))
    tokens = sampler.draw(logits.expand(draws, -1), grid, [])
    found = torch.bincount(tokens, minlength=VOCABULARY) / draws
    assert torch.allclose(found, expected, atol=2 / draws)
    edges = sampler.draw(logits.expand(2, -1), torch.tensor([0.0, 1 - 2**-24]), [])
    assert all(expected[token] > 0 for token in edges)


def test_logits_that_are_no_numbers_are_an_error():
    import torch

    from tenyson.engines.decoding.sampler import Sampler
    from tenyson.errors import EngineError

    logits = torch.zeros(2, VOCABULARY)
    logits[1, 3] = float("nan")
    with pytest.raises(EngineError, match="not finite"):
        Sampler(Sampling(1)).draw(logits, torch.zeros(2), [])


@pytest.mark.parametrize(
    ("family", "settings", "reason"),
    [
        ("Mistral", SMALL | {"sliding_window": 16}, "slides over 16 tokens"),
        (
            "Llama",
            SMALL | {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}},
            "dynamic",
        ),
        (
            "Mamba",
            {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4},
            "recurrent",
        ),
        ("Bloom", {"vocab_size": VOCABULARY, "hidden_size": 16, "n_layer": 1, "n_head": 2}, "position_ids"),
    ],
)
def test_models_that_cannot_keep_their_cache_are_named_with_the_reason(family, settings, reason):
    from tenyson.engines.transformers import KeptTurns

    said: list[str] = []
    turns = KeptTurns(said.append)
    model = model_of(family, "eager", **settings)
    for _ in range(2):
        assert turns.of(model, {}, begins=True) is None
    assert len(said) == 1
    assert reason in said[0]


def test_arguments_for_generate_keep_generate():
    from tenyson.engines.transformers import KeptTurns

    said: list[str] = []
    model = model_of("Llama", **SMALL)
    assert KeptTurns(said.append).of(model, {"no_repeat_ngram_size": 3}, begins=True) is None
    assert "no_repeat_ngram_size" in said[0]
