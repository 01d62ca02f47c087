"""Every chat template that TRL ships: what is trained, played and parsed is the family's own text.

TRL's training twins mark by `{% generation %}` what a model writes; they are the reference for the loss mask.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.engines.families import families, renderer_of, tokenizer_of, twin

from tenyson.engines.engine import Reply
from tenyson.engines.play import play
from tenyson.errors import ModelError
from tenyson.tasks import Environment, Observation, Sample, TaskPlugin

pytestmark = pytest.mark.train
FAMILIES = families()

OPENS_A_THOUGHT = {
    "deepseek_r1_distill",
    "deepseekv3",
    "nemotron_3_nano",
    "nemotron_3_super",
    "nemotron_3_ultra",
    "nemotron_3_5_lightning",
}
"""The opening of a reply begins a thought, and the template writes a reply without reasoning otherwise: refused."""
NO_REASONING = {
    "cohere",
    "cohere2",
    "gemma",
    "gemma3",
    "gemma4_v2",
    "lfm2",
    "lfm2_v2",
    "llama3",
    "llama3_1",
    "llama3_2",
    "phi3",
    "phi3_5",
    "qwen2_5",
    "qwen3_instruct_2507",
    "qwen3_5_nothink",
}
"""No place for reasoning, or an opening that rules it out: refused."""
DROPS_REASONING = {"deepseek_r1_distill", "deepseekv3", "gemma4", "gemma4_v3", "gemma4_v4"}
"""The template leaves reasoning out even of the last reply; it is written where the opening, or a reply with calls, has it."""
REWRITES_HISTORY = {"qwen3", "qwen3_5_nothink", "qwen3_5_think", "qwen3_6"}
"""The template takes the empty thought out of earlier replies; a rollout keeps what the model wrote."""
ENDS_TWICE = {"gptoss"}
"""A reply ends on <|return|>, and on <|end|> once another message follows: several turns are refused."""
NO_CALLS = {"cohere", "cohere2", "deepseek_r1_distill", "gemma", "gemma3", "lfm2", "llama3", "phi3", "phi3_5"}
"""The template writes no calls, or not all of them."""
MARKER_ENDS_REPLY = {"glm4moe": "<|user|>"}
"""The marker of the next message ends a reply. It is trained and sampled, and no part of the template's finished text."""
AFTER_THE_END = {"cohere2": "<|END_OF_TURN_TOKEN|>", "phi3": "<|endoftext|>", "phi3_5": "<|endoftext|>"}
"""What a twin marks behind the token that ends a reply. Generation has stopped by then."""
DROPPED_BY_THE_TWIN = {"deepseekv3"}
"""The twin itself loses the reasoning."""
ENDS = {
    "cohere2": ["<|END_OF_TURN_TOKEN|>", "<|END_RESPONSE|>"],
    "deepseek_r1_distill": ["<｜end▁of▁sentence｜>"],
    "gemma": ["<end_of_turn>", "<eos>"],
    "gemma4": ["<eos>", "<turn|>", "<|tool_response>"],
    "gemma4_v2": ["<eos>", "<turn|>"],
    "glm4moe": ["<|endoftext|>", "<|observation|>", "<|user|>"],
    "gptoss": ["<|call|>", "<|return|>"],
    "llama3_1": ["<|eot_id|>"],
    "muse_glimmer": ["<|eot|>"],
    "nemotron_3_nano": ["<|im_end|>"],
    "phi3": ["<|endoftext|>", "<|end|>"],
    "qwen3": ["<|im_end|>"],
}
CALLS = [{"type": "function", "function": {"name": "find", "arguments": {"city": "Rome", "days": [1, 2]}}}]


def user(text: str) -> Any:
    return {"role": "user", "content": text}


def assistant(text: str, reasoning: str | None = None) -> Any:
    return {"role": "assistant", "content": text} | ({"reasoning": reasoning} if reasoning else {})


def sample(*completion: Any) -> Sample:
    return Sample(id="s", prompt=[user("Q1")], completion=completion)


def learnt(renderer: Any, ids: list[int], mask: list[int]) -> list[str]:
    """The pieces of text that are learnt."""
    pieces: list[list[int]] = []
    before = 0
    for token, flag in zip(ids, mask, strict=True):
        if flag and not before:
            pieces.append([])
        if flag:
            pieces[-1].append(token)
        before = flag
    return [renderer.raw(piece) for piece in pieces]


def own(name: str, renderer: Any, ids: list[int]) -> str:
    """The text of rendered ids, without an end that the template leaves to the next message."""
    return renderer.raw(ids).removesuffix(MARKER_ENDS_REPLY.get(name, "\0"))


def marked_by_twin(name: str, messages: list[Any]) -> list[str]:
    """The pieces of text that TRL's training twin marks."""
    template = twin(name)
    assert template is not None
    tokenizer = copy.deepcopy(tokenizer_of(name))
    tokenizer.chat_template = template
    spelt = [
        dict(one) | dict.fromkeys(("reasoning_content", "thinking"), one["reasoning"])
        if one.get("reasoning")
        else one
        for one in messages
    ]
    if name == "deepseek_r1_distill":  # it has reasoning in the text alone
        spelt = [
            assistant(f"<think>\n{one['reasoning']}\n</think>\n\n{one['content']}")
            if one.get("reasoning")
            else one
            for one in messages
        ]
    found = tokenizer.apply_chat_template(
        spelt, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    return learnt(renderer_of(name), found["input_ids"], found["assistant_masks"])


def agree(name: str, ours: list[str], theirs: list[str]) -> None:
    """What is learnt is what the twin marks, without what generation is given and what follows the end."""
    opening = renderer_of(name).raw(renderer_of(name).prompt([user("Q1")]))
    assert len(ours) == len(theirs)
    for mine, marked in zip(ours, theirs, strict=True):
        given, found, after = marked.partition(mine)
        assert found, (mine, marked)
        assert opening.endswith(given)
        assert after.strip() in ("", AFTER_THE_END.get(name))


def test_all_templates_for_text_are_here():
    """A template that TRL adds comes under these tests by itself."""
    assert len(FAMILIES) == 34
    assert {*OPENS_A_THOUGHT, *NO_REASONING, *DROPS_REASONING, *REWRITES_HISTORY, *NO_CALLS, *ENDS} <= {
        *FAMILIES
    }


@pytest.mark.parametrize("name", FAMILIES)
def test_a_reply_is_trained_as_the_template_writes_it(name):
    """One reply without reasoning: the text is the template's own, and the mask holds what generation would write."""
    renderer, one = renderer_of(name), sample(assistant("C1"))
    if name in OPENS_A_THOUGHT:
        with pytest.raises(ModelError, match=r"begins a thought, and the reply has no reasoning") as refused:
            renderer.conversation(one)
        assert "training.reasoning: drop" in (refused.value.next_step or "")
        return
    ids, mask = renderer.conversation(one)
    assert renderer.whole([*one.prompt, *one.completion]).startswith(own(name, renderer, ids))
    [piece] = learnt(renderer, ids, mask)
    assert piece.endswith("C1" + renderer.turn_end)
    assert ids[: mask.index(1)] == renderer.prompt(one.prompt)
    if twin(name):
        agree(name, [piece], marked_by_twin(name, [*one.prompt, *one.completion]))


@pytest.mark.parametrize("name", FAMILIES)
def test_reasoning_is_trained_where_the_family_has_it(name):
    """Given as a field or as <think> in the text; refused, with what to do, where there is no place for it."""
    renderer, one = renderer_of(name), sample(assistant("C1", "R1"))
    if name in NO_REASONING:
        with pytest.raises(ModelError, match=r"no place for it|closed, empty thought") as refused:
            renderer.conversation(one)
        assert "training.reasoning: drop" in (refused.value.next_step or "")
        assert renderer.conversation(one, "drop") == renderer.conversation(sample(assistant("C1")))
        return
    ids, mask = renderer.conversation(one)
    [piece] = learnt(renderer, ids, mask)
    assert piece.index("R1") < piece.index("C1")
    assert piece.endswith("C1" + renderer.turn_end)
    in_text = sample(assistant("<think>\nR1\n</think>\n\nC1"))
    assert renderer.conversation(in_text) == (ids, mask)
    if name not in DROPS_REASONING:
        assert renderer.whole([*one.prompt, *one.completion]).startswith(own(name, renderer, ids))
    if twin(name) and name not in DROPPED_BY_THE_TWIN:
        agree(name, [piece], marked_by_twin(name, [*one.prompt, *one.completion]))


@pytest.mark.parametrize("name", FAMILIES)
def test_without_its_reasoning_a_reply_follows_the_opening_all_the_same(name):
    """`training.reasoning: drop` trains nothing inside an open thought: what the opening began is ended first."""
    renderer = renderer_of(name)
    ids, mask = renderer.conversation(sample(assistant("C1", "R1")), "drop")
    assert "R1" not in renderer.raw(ids)
    [piece] = learnt(renderer, ids, mask)
    opening = renderer.raw(renderer.prompt([user("Q1")]))
    assert (opening + piece).count("<think>") == (opening + piece).count("</think>")
    assert renderer.parse(ids[mask.index(1) :]).content == "C1"


class TwoTurns(Environment):
    """Asks once more."""

    def step(self, reply: str) -> Observation:
        return Observation("Q2", done=reply == "C2")


class Game(TaskPlugin):
    """One game of two turns."""

    def environment(self, sample: Sample) -> Environment:
        return TwoTurns()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_rollout_of_several_turns_is_the_templates_own_conversation(name):
    """Token for token, up to the end of the last reply; training on that conversation sees the same tokens."""
    renderer = renderer_of(name)
    if name in ENDS_TWICE:
        with pytest.raises(ModelError, match="within a conversation and with") as refused:
            renderer.between(assistant("C1"), [user("Q2")])
        assert "training.reasoning: last" in (refused.value.next_step or "")
        return

    def generate(prompts: list[list[int]], turn: int) -> list[Reply]:
        return [Reply(renderer.reply(f"C{turn + 1}"), "stop") for _ in prompts]

    [played] = play(Game(), [sample()], renderer, generate, max_turns=2)
    assert [one["content"] for one in played.rollout.messages] == ["C1", "Q2", "C2"]
    ids = played.prompt_ids + played.completion_ids
    game = sample(assistant("C1"), user("Q2"), assistant("C2"))
    reasoning = "drop" if name in OPENS_A_THOUGHT else "keep"
    trained, mask = renderer.conversation(game, reasoning)
    if not name.startswith("nemotron"):  # which has two ways to write an empty thought
        assert (trained, mask[len(played.prompt_ids) :]) == (ids, played.mask)
    if name not in OPENS_A_THOUGHT | REWRITES_HISTORY:
        whole = renderer.tokenizer.apply_chat_template([*game.prompt, *game.completion], tokenize=False)
        assert whole.startswith(own(name, renderer, ids))


def test_an_environment_gets_what_a_reply_says_without_what_was_thought():
    """The thought stands in the message, and its tokens in what is trained."""
    renderer = renderer_of("qwen3_5_think")
    heard = []

    class Listens(TwoTurns):
        def step(self, reply: str) -> Observation:
            heard.append(reply)
            return super().step(reply)

    class Heard(TaskPlugin):
        def environment(self, sample: Sample) -> Environment:
            return Listens()

    replies = []
    for turn in ("1", "2"):
        ids, mask = renderer.conversation(sample(assistant(f"C{turn}", f"R{turn}")))
        replies.append(ids[mask.index(1) :])

    def generate(prompts: list[list[int]], turn: int) -> list[Reply]:
        return [Reply(replies[turn], "stop") for _ in prompts]

    [played] = play(Heard(), [sample()], renderer, generate, max_turns=2)
    assert heard == ["C1", "C2"]
    assert played.rollout.messages == (assistant("C1", "R1"), user("Q2"), assistant("C2", "R2"))
    assert played.rollout.text == "C2"
    whole = sample(*played.rollout.messages)
    assert renderer.conversation(whole)[0] == played.prompt_ids + played.completion_ids


@pytest.mark.parametrize("name", FAMILIES)
def test_the_last_reply_alone_is_trained_after_the_templates_own_history(name):
    """`training.reasoning: last`, also where several turns are refused otherwise."""
    renderer = renderer_of(name)
    thought = None if name in NO_REASONING else "R"
    game = sample(assistant("C1", thought), user("Q2"), assistant("C2", thought))
    ids, mask = renderer.conversation(game, "last")
    [piece] = learnt(renderer, ids, mask)
    assert piece.endswith("C2" + renderer.turn_end)
    assert "C1" not in piece
    assert ids[: mask.index(1)] == renderer.prompt([*game.prompt, *game.completion[:2]])
    if name not in DROPS_REASONING | {"qwen3_5_nothink"}:
        assert renderer.whole([*game.prompt, *game.completion]).startswith(own(name, renderer, ids))


@pytest.mark.parametrize("name", FAMILIES)
def test_what_a_reply_says_comes_back(name):
    """Reasoning and content, each by itself; a thought that was cut off is no answer."""
    renderer = renderer_of(name)
    if name not in OPENS_A_THOUGHT:
        ids, mask = renderer.conversation(sample(assistant("C1 <b>\nand more")))
        said = renderer.parse(ids[mask.index(1) :])
        assert (said.content, said.reasoning, said.tool_calls) == ("C1 <b>\nand more", None, [])
    if name in NO_REASONING:
        written = renderer.tokenizer("<think>R</think>C", add_special_tokens=False)["input_ids"]
        assert renderer.text(written) == "<think>R</think>C"
        return
    ids, mask = renderer.conversation(sample(assistant("C1", "R1\nand R2")))
    reply = ids[mask.index(1) :]
    said = renderer.parse(reply)
    assert (said.content, said.reasoning) == ("C1", "R1\nand R2")
    assert renderer.message(reply) == assistant("C1", "R1\nand R2")
    cut = reply[: renderer.raw(reply).index("R2")]
    while len(renderer.raw(cut)) > renderer.raw(reply).index("R2"):
        cut = cut[:-1]
    said = renderer.parse(cut)
    assert said.content == ""
    assert said.reasoning is not None
    assert "R1\nand R2".startswith(said.reasoning)


@pytest.mark.parametrize("name", FAMILIES)
def test_calls_of_tools_come_back_and_their_results_follow(name):
    """A call is trained as the template writes it, read again as the same call, and continued by its result."""
    renderer = renderer_of(name)
    call = {"role": "assistant", "content": "", "tool_calls": CALLS}
    if name in NO_CALLS:
        written = renderer.tokenizer('{"name": "find"}', add_special_tokens=False)["input_ids"]
        assert renderer.parse(written, tools=True).tool_calls == []
        return
    reasoning = "drop" if name in OPENS_A_THOUGHT else "keep"
    ids, mask = renderer.conversation(sample(call), reasoning)
    reply = ids[mask.index(1) :]
    assert reply[-1] in renderer.stop_token_ids
    said = renderer.parse(reply, tools=True)
    assert (said.content, said.tool_calls) == ("", CALLS)
    result = {"role": "tool", "content": "sunny", "name": "find"}
    whole, mask = renderer.conversation(sample(call, result, assistant("C2")), reasoning)
    assert whole[: len(ids)] == ids
    [first, last] = learnt(renderer, whole, mask)
    assert "sunny" in renderer.raw(whole)
    assert "sunny" not in first + last
    assert last.endswith("C2" + renderer.turn_end)


@pytest.mark.parametrize("name", sorted(set(FAMILIES) - set(NO_CALLS)))
def test_a_result_follows_a_call_whether_or_not_the_call_was_ended(name):
    """What a rollout would add is what SFT trains after; a call that was cut off gets its end first."""
    renderer = renderer_of(name)
    call = {"role": "assistant", "content": "", "tool_calls": CALLS}
    result = {"role": "tool", "content": "sunny", "name": "find"}
    reasoning = "drop" if name in OPENS_A_THOUGHT else "keep"
    before, _ = renderer.conversation(sample(call), reasoning)
    after, _ = renderer.conversation(sample(call, result), reasoning)
    bridge = renderer.between(call, [result])
    assert before + bridge == after
    assert renderer.between(call, [result], ended=False) == [before[-1], *bridge]


def test_a_call_that_cannot_be_read_stays_in_the_text():
    """It is what the model wrote, and an environment may say so."""
    renderer = renderer_of("qwen2_5")
    text = '<tool_call>\n{"name": "find", "arguments": }\n</tool_call>'
    said = renderer.parse(renderer.reply(text), tools=True)
    assert (said.content, said.tool_calls) == (text, [])


@pytest.mark.parametrize("name", sorted(ENDS))
def test_replies_end_on_the_familys_own_tokens(name):
    """The end of a turn, of a call, and the tokenizer's EOS; for GLM the marker of the next message."""
    renderer = renderer_of(name)
    assert sorted(renderer.tokenizer.convert_ids_to_tokens(list(renderer.stop_token_ids))) == sorted(
        ENDS[name]
    )


def test_a_closed_thought_is_opened_by_the_templates_variable():
    """`model.chat_template_kwargs` decides what generation begins with, and so what can be trained."""
    thinking = renderer_of("qwen3_5_nothink", enable_thinking=True)
    ids, _ = thinking.conversation(sample(assistant("C1", "R1")))
    assert thinking.raw(ids).endswith("<think>\nR1\n</think>\n\nC1<|im_end|>")
    silent = renderer_of("nemotron_3_nano", enable_thinking=False)
    ids, mask = silent.conversation(sample(assistant("C1")))
    assert learnt(silent, ids, mask) == ["C1<|im_end|>"]
    assert silent.whole([user("Q1"), assistant("C1")]).startswith(silent.raw(ids))
    with pytest.raises(ModelError, match="enable_thinking: true"):
        silent.conversation(sample(assistant("C1", "R1")))


def test_a_system_message_is_refused_by_gemma_or_merged_when_asked():
    """Nothing is put into a user's mouth unless the configuration says so."""
    from tenyson.engines.renderers import Renderer

    messages = [{"role": "system", "content": "Be brief."}, user("Q1")]
    with pytest.raises(ModelError, match="System role not supported") as refused:
        renderer_of("gemma").prompt(messages)
    assert "model.system: merge" in (refused.value.next_step or "")
    merging = Renderer(tokenizer_of("gemma"), merge_system=True)
    assert merging.prompt(messages) == renderer_of("gemma").prompt([user("Be brief.\n\nQ1")])
    assert merging.fingerprint() != renderer_of("gemma").fingerprint()
