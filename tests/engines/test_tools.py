"""Tools in rollouts: calls are run and answered, what is wrong with one is told, and the tokens are those of SFT."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque

import pytest
from tests.engines.families import families, tokenizer_of

from tenyson.engines.engine import Reply, Sampling
from tenyson.engines.play import play
from tenyson.engines.play.independent import play_independently
from tenyson.engines.rollouts.limits import Limits
from tenyson.errors import ModelError, TaskError
from tenyson.tasks import Sample, TaskPlugin, Tool, ToolError
from tenyson.tasks.checks import with_tools

pytestmark = pytest.mark.train

NO_TOOLS = {
    "cohere",
    "cohere2",
    "deepseek_r1_distill",
    "deepseekv3",
    "gemma",
    "gemma3",
    "lfm2",
    "llama3",
    "phi3",
    "phi3_5",
}
"""Their templates do not say what the tools are, or write no calls."""
THINKING = {"nemotron_3_5_lightning", "nemotron_3_nano", "nemotron_3_super", "nemotron_3_ultra"}
"""A reply of theirs begins within a thought."""


def temperature(city: str, unit: str = "C") -> str:
    """How warm it is.

    Args:
        city: Name of the city.
        unit: C or F.
    """
    if city == "Atlantis":
        raise ToolError("there is no Atlantis")
    return f"21 {unit} in {city}"


async def slow(seconds: float) -> dict[str, float]:
    """Wait."""
    await asyncio.sleep(seconds)
    return {"waited": seconds}


def blocking(seconds: float) -> str:
    """Wait, and keep the thread."""
    time.sleep(seconds)
    return "done"


def broken() -> str:
    """Never works."""
    raise ConnectionError("the service is away")


class Asking(TaskPlugin):
    """A task whose tools are given."""

    def __init__(self, *tools):
        super().__init__()
        self.given = list(tools)

    def tools(self, sample):
        return self.given


def call(name, **arguments):
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*made):
    return {"role": "assistant", "content": "", "tool_calls": list(made)}


def sample(task, completion=(), id="one"):
    asked = Sample(id=id, prompt=[{"role": "user", "content": "How warm is it?"}], completion=completion)
    return with_tools(task, asked)


@pytest.fixture(scope="module")
def renderer(tmp_path_factory):
    from transformers import AutoTokenizer

    from tenyson.engines.renderers import Renderer
    from tenyson.testing.tiny import build

    directory = tmp_path_factory.mktemp("tiny")
    build(directory, 0)
    return Renderer(AutoTokenizer.from_pretrained(directory))


def written(renderer, text):
    """A reply of this text that ends by itself."""
    return Reply(
        [*renderer.tokenizer(text, add_special_tokens=False)["input_ids"], renderer.turn_end_id], "stop"
    )


def json_call(name, **arguments):
    return f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"


class Scripted:
    """An engine that says the same replies in every conversation, in any order of conversations."""

    def __init__(self, replies):
        self.replies, self.said, self.queued = replies, {}, deque()

    def add(self, key, prompt, sampling):
        number = self.said.get(key, 0)
        self.said[key] = number + 1
        self.queued.append((key, self.replies[number]))

    def finished(self):
        found, self.queued = list(self.queued), deque()
        return found

    def drop(self):
        self.queued.clear()


HOW = ("together", "independently")


def played(how, renderer, task, replies, samples=None, max_turns=5, limits=None):
    """The trajectories of conversations in which the model says `replies`, and the rollouts that broke, which are tried once."""
    samples = samples or [sample(task)]
    limits = limits or Limits(retries=0)
    if how == "together":
        found = play(
            task,
            samples,
            renderer,
            lambda prompts, turn: [replies[turn]] * len(prompts),
            max_turns=max_turns,
            limits=limits,
        )
        return parted(found)
    [found] = play_independently(
        task,
        samples,
        renderer,
        Scripted(replies),
        Sampling(16),
        max_turns=max_turns,
        batch_size=len(samples),
        limits=limits,
    )
    return parted(found)


def parted(found):
    """The whole ones, and the rollouts of the others."""
    whole = [one for one in found if one.rollout.error is None]
    return whole, [one.rollout for one in found if one.rollout.error is not None]


@pytest.mark.parametrize("family", families())
def test_a_rollout_with_tools_has_the_tokens_that_sft_trains(family):
    """Prompt, call, result and answer: token by token what `conversation` renders, and the calls are read back."""
    from tenyson.engines.renderers import Renderer

    task, renderer = Asking(temperature), Renderer(tokenizer_of(family))
    if family in NO_TOOLS:
        with pytest.raises(ModelError, match="tools"):
            renderer.prompt_ids(sample(task))
        return
    asked, said = calls(call("temperature", city="Oslo")), {"role": "assistant", "content": "It is warm."}
    if family in THINKING:
        asked, said = asked | {"reasoning": "I shall look."}, said | {"reasoning": "21 is warm."}
    result = {"role": "tool", "name": "temperature", "content": "21 C in Oslo"}
    ids, mask = renderer.conversation(sample(task, [asked, result, said]))
    prompt = renderer.prompt_ids(sample(task))
    replies, piece = [], []
    for token, learnt in zip(ids[len(prompt) :], mask[len(prompt) :], strict=True):
        if learnt:
            piece.append(token)
        elif piece:
            replies.append(Reply(piece, "stop"))
            piece = []
    replies.append(Reply(piece, "stop"))
    [found], failures = played("together", renderer, task, replies, [sample(task)])
    assert not failures
    assert found.prompt_ids + found.completion_ids == ids
    assert found.mask == mask[len(prompt) :]
    assert [one["role"] for one in found.rollout.messages] == ["assistant", "tool", "assistant"]
    assert found.rollout.messages[1]["content"] == "21 C in Oslo"
    assert found.rollout.text == "It is warm."
    assert found.rollout.info == {"tool_calls": 1, "tool_calls_refused": 0}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            json_call("temperatures", city="Oslo"),
            "there is no tool 'temperatures'; the tools are temperature",
        ),
        (json_call("temperature", unit="C"), "city: required"),
        (json_call("temperature", city=["Oslo"]), "city: Input should be a valid string"),
        (json_call("temperature", city="Oslo", at="noon"), "at: there is no such argument"),
        (json_call("temperature", city="Atlantis"), "there is no Atlantis"),
        ('<tool_call>{"name": "temperature", "arguments": {city}}</tool_call>', "cannot be read"),
        ('<tool_call>{"name": "temperature"', "cannot be read"),
    ],
)
def test_the_model_is_told_what_is_wrong_with_a_call_and_goes_on(how, renderer, said, told):
    """Its fault is data: the answer says what is wrong, and the rollout counts it."""
    replies = [
        written(renderer, said),
        written(renderer, json_call("temperature", city="Oslo")),
        written(renderer, "warm"),
    ]
    [found], failures = played(how, renderer, Asking(temperature), replies)
    assert not failures
    first, second = [one["content"] for one in found.rollout.messages if one["role"] == "tool"]
    assert told in json.loads(first)["error"]
    assert second == "21 C in Oslo"
    assert found.rollout.text == "warm"
    assert found.rollout.info == {"tool_calls": 2, "tool_calls_refused": 1}
    assert told.partition(":")[0] in renderer.raw(found.completion_ids)


@pytest.mark.parametrize("how", HOW)
def test_each_call_is_kept_with_its_turn_what_came_of_it_and_its_time(how, renderer):
    """Sync and async ones; what was not run has no time."""
    first = (
        json_call("temperature", city="Oslo")
        + json_call("temperatures", city="Oslo")
        + json_call("temperature", unit="C")
    )
    second = json_call("temperature", city="Atlantis") + json_call("slow", seconds=0.05)
    third = '<tool_call>{"name": "temperature"'
    replies = [written(renderer, text) for text in (first, second, third, "warm")]
    [found], _ = played(how, renderer, Asking(temperature, slow), replies)
    kept = found.rollout.tool_calls
    assert [(one.turn, one.name, one.outcome) for one in kept] == [
        (1, "temperature", "answered"),
        (1, "temperatures", "unknown"),
        (1, "temperature", "arguments"),
        (2, "temperature", "refused"),
        (2, "slow", "answered"),
        (3, "", "unreadable"),
    ]
    assert [one.refused for one in kept] == [False, True, True, True, False, True]
    assert found.rollout.info == {"tool_calls": 6, "tool_calls_refused": 4}
    told = [json.loads(one["content"]) for one in found.rollout.messages if "error" in one["content"]]
    assert [{"error": one.cause} for one in kept if one.refused] == told
    timed = [one.seconds is not None for one in kept]
    assert timed == [True, False, False, True, True, False]
    assert kept[4].seconds >= 0.05


@pytest.mark.parametrize("how", HOW)
def test_a_call_that_breaks_its_rollout_is_kept_beside_the_others_of_its_turn(how, renderer):
    """The one that raises, and the one that takes too long, with the limit."""

    def hangs() -> str:
        """Take too long."""
        time.sleep(1.0)
        return "late"

    said = json_call("broken") + json_call("temperature", city="Oslo") + json_call("hangs")
    task = Asking(broken, temperature, hangs)
    limits = Limits(step_seconds=0.3, retries=0)
    _, [rollout] = played(how, renderer, task, [written(renderer, said)], limits=limits)
    assert [(one.name, one.outcome) for one in rollout.tool_calls] == [
        ("broken", "failed"),
        ("temperature", "answered"),
        ("hangs", "failed"),
    ]
    assert rollout.error.message == rollout.tool_calls[0].cause
    assert rollout.error.kind == "ConnectionError"
    assert rollout.tool_calls[2].seconds == 0.3
    assert not any(one.refused for one in rollout.tool_calls)


def test_a_rollout_without_tools_has_no_calls_rather_than_none_made(renderer):
    [plain], _ = played("together", renderer, TaskPlugin(), [written(renderer, "warm")])
    [silent], _ = played("together", renderer, Asking(temperature), [written(renderer, "warm")])
    assert plain.rollout.tool_calls is None
    assert silent.rollout.tool_calls == ()


@pytest.mark.parametrize("how", HOW)
def test_calls_run_side_by_side(how, renderer):
    """Those of one reply and those of several conversations; each is answered in its own place."""
    task = Asking(slow, blocking, temperature)
    said = (
        json_call("slow", seconds=0.4)
        + json_call("temperature", city="Oslo")
        + json_call("blocking", seconds=0.4)
    )
    replies = [written(renderer, said), written(renderer, "done")]
    samples = [sample(task, id=str(number)) for number in range(8)]
    begun = time.monotonic()
    found, _ = played(how, renderer, task, replies, samples)
    assert time.monotonic() - begun < 2.0, "one after the other they would take 6.4 s"
    for one in found:
        results = [message["content"] for message in one.rollout.messages if message["role"] == "tool"]
        assert results == ['{"waited": 0.4}', "21 C in Oslo", "done"]


@pytest.mark.parametrize("how", HOW)
def test_a_tool_that_raises_or_hangs_breaks_off_its_own_conversation_only(how, renderer):
    """The failure names tool, sample and turn."""

    class Mixed(Asking):
        def tools(self, sample):
            def look() -> str:
                """Look."""
                return {"raises": broken, "hangs": lambda: time.sleep(1.5)}.get(sample.id, lambda: "fine")()

            return [look]

    task = Mixed()
    replies = [written(renderer, json_call("look")), written(renderer, "seen")]
    samples = [sample(task, id=name) for name in ("raises", "works", "hangs")]
    found, failures = played(
        how, renderer, task, replies, samples, limits=Limits(step_seconds=0.3, retries=0)
    )
    assert [one.rollout.sample.id for one in found] == ["works"]
    causes = {one.sample.id: one.error.message for one in failures}
    assert (
        "the tool look raises on sample raises, turn 1: ConnectionError: the service is away"
        in causes["raises"]
    )
    assert causes["hangs"] == "the tool look on sample hangs, turn 1: no answer within 0.3 s"


@pytest.mark.parametrize(
    ("result", "fault"),
    [
        ("x" * 300_000, "300,000 characters"),
        ("half \ud800", "lone surrogate"),
        (b"bytes", None),
        (None, None),
    ],
)
def test_what_a_tool_returns_is_text_or_json_or_refused(renderer, result, fault):
    def odd():
        """Return something."""
        return result

    replies = [written(renderer, json_call("odd")), written(renderer, "seen")]
    found, failures = played("together", renderer, Asking(odd), replies)
    assert [fault in one.error.message for one in failures] == ([True] if fault else [])
    assert len(found) == (0 if fault else 1)


def test_a_task_with_tools_and_an_environment_asks_the_environment_where_no_tool_is_called(renderer):
    from tenyson.tasks import Environment, Observation

    class Room(Environment):
        def step(self, reply):
            return Observation(f"you said {reply}", done=reply == "end")

    class Both(Asking):
        def environment(self, sample):
            return Room()

    texts = ["hello", json_call("temperature", city="Oslo"), "end"]
    [found], _ = played("together", renderer, Both(temperature), [written(renderer, text) for text in texts])
    assert [one["content"] for one in found.rollout.messages if one["role"] != "assistant"] == [
        "you said hello",
        "21 C in Oslo",
    ]
    assert found.rollout.finish_reason == "stop"


def test_a_call_in_the_last_turn_is_run_and_the_rollout_ends_by_the_limit(renderer):
    """What it brings about counts; the model reads no answer any more."""
    ran = []

    def submit(answer: str) -> str:
        """Hand in the answer."""
        ran.append(answer)
        return "thank you"

    [found], _ = played(
        "together",
        renderer,
        Asking(submit),
        [written(renderer, json_call("submit", answer="4"))],
        max_turns=1,
    )
    assert ran == ["4"]
    assert found.rollout.finish_reason == "turns"
    assert "thank you" not in renderer.raw(found.completion_ids)


def test_a_template_without_tools_is_refused_before_anything_is_played(renderer):
    from tenyson.engines.renderers import Renderer

    tokenizer = renderer.tokenizer.__class__.from_pretrained(renderer.tokenizer.name_or_path)
    tokenizer.chat_template = tokenizer.chat_template.partition("{% endif %}{% for message")[2].join(
        ("{% for message", "")
    )
    with pytest.raises(ModelError, match="does not tell the model of the tools temperature"):
        Renderer(tokenizer).prompt_ids(sample(Asking(temperature)))


@pytest.mark.parametrize(
    ("tools", "cause"),
    [
        ([temperature, temperature], "two tools have the same name: temperature"),
        (["temperature"], "neither a function nor a Tool"),
        ("temperature", "not tools"),
        ([lambda *words: ""], "takes \\*words"),
        ([lambda: ""], "the name of the tool '<lambda>' holds"),
    ],
)
def test_what_is_wrong_with_a_tool_is_told_with_the_sample(tools, cause):
    task = Asking()
    task.given = tools
    with pytest.raises(TaskError, match=cause) as caught:
        sample(task, id="train/3")
    assert "train/3" in str(caught.value)


@pytest.mark.parametrize(
    ("parameters", "cause"),
    [
        ({"type": "array"}, "not an object"),
        ({"type": "object", "properties": {"a": {"type": "nothing"}}}, "no valid JSON schema"),
        ({"type": "object", "properties": {"a": {"$ref": "https://example.com/a"}}}, "outside the schema"),
        ({"type": "object", "description": "x" * 200_000}, "of every prompt"),
        ([], "not a JSON schema"),
    ],
)
def test_a_schema_that_cannot_be_used_is_refused_where_the_tool_is_made(parameters, cause):
    with pytest.raises(TaskError, match=cause):
        Tool("find", "Find it.", parameters, print)


def test_a_schema_that_refers_to_itself_can_be_used():
    """Trees are what such schemas are for."""
    tree = {
        "type": "object",
        "properties": {"next": {"$ref": "#"}, "value": {"type": "integer"}},
        "required": ["value"],
    }
    made = Tool("plant", "Plant a tree.", tree, print)
    assert made.bind({"value": 1, "next": {"value": 2}}) == {"value": 1, "next": {"value": 2}}
    with pytest.raises(ToolError, match=r"next: 'value' is a required property"):
        made.bind({"value": 1, "next": {}})


def test_without_its_libraries_the_extra_is_named(monkeypatch):
    monkeypatch.setattr("tenyson.tasks.tools.schema.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"(?s)a tool needs.*pip install 'tenyson-core\[tools\]'"):
        sample(Asking(temperature))
