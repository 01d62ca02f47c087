"""The contract of an engine that takes messages: what an evaluation relies on, as tests to subclass (needs pytest).

class TestMine(ChatEngineContract):
    @pytest.fixture
    def engine(self):
        engine = MyEngine(EngineSpec(model="a-model"))
        yield engine
        engine.close()

    @pytest.fixture
    def broken(self):
        engine = MyEngine(EngineSpec(model="no-such-model"))
        yield engine
        engine.close()
"""

from __future__ import annotations

import copy
import json
import math
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future
from typing import Any, ClassVar

import pytest

from tenyson.engines.chat.chat_engine import ChatEngine, ChatReply
from tenyson.engines.engine import Sampling
from tenyson.engines.renderers.parsed import Parsed
from tenyson.errors import EndpointError
from tenyson.tasks.sample import Message

SAMPLING = Sampling(max_new_tokens=32, temperature=0.0)
ADD: Mapping[str, Any] = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "The sum of two numbers.",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    },
}
TOOLS_USED: Sequence[Message] = (
    {"role": "system", "content": "You are brief."},
    {"role": "user", "content": "What is 1 + 2, and what is 1 + x?"},
    {
        "role": "assistant",
        "content": "",
        "reasoning": "I add them.",
        "tool_calls": [
            {"type": "function", "id": "call_0", "function": {"name": "add", "arguments": {"a": 1, "b": 2}}}
        ],
    },
    {"role": "tool", "content": "3", "tool_call_id": "call_0"},
    {"role": "tool", "content": "error: that call cannot be read"},
    {"role": "user", "content": "Well?"},
)
"""A system's message, reasoning, a call with its answer, and the answer to one that could not be read, which belongs to no call."""


class ChatEngineContract:
    """Subclass it as `Test...` and give the fixtures `engine` and `broken`."""

    prompts: ClassVar[Sequence[str]] = ("Say one.", "Say two.", "Say three.")
    """What the model is asked."""
    seconds: ClassVar[float] = 60.0
    """For one reply, and for closing."""

    @pytest.fixture
    def engine(self) -> ChatEngine:
        """The engine; closed after the test, twice where the test closes it."""
        raise NotImplementedError("give a fixture `engine`")

    @pytest.fixture
    def broken(self) -> ChatEngine:
        """One whose requests fail, such as with a URL where nobody answers."""
        raise NotImplementedError("give a fixture `broken`: an engine whose requests fail")

    def test_it_is_a_chat_engine(self, engine: ChatEngine) -> None:
        """By its name and its methods, and with room for a conversation."""
        assert isinstance(engine, ChatEngine)
        assert isinstance(engine.name, str)
        assert engine.name
        assert isinstance(engine.concurrency, int)
        assert engine.concurrency >= 1

    def test_a_reply_is_whole(self, engine: ChatEngine) -> None:
        """Its text and its counts are recorded as JSON; a cost that is unknown is None."""
        for text in self.prompts:
            self.check(self.answer(engine, [_user(text)]))

    def test_it_leaves_the_messages_as_they_are(self, engine: ChatEngine) -> None:
        """They are recorded afterwards, and asked again after a fault."""
        messages, tools = [*copy.deepcopy(TOOLS_USED)], [copy.deepcopy(ADD)]
        self.answer(engine, messages, tools)
        assert messages == list(TOOLS_USED)
        assert tools == [ADD]

    def test_a_conversation_continues_from_its_own_reply(self, engine: ChatEngine) -> None:
        """The reply's message is part of what is sent next."""
        messages = [_user(self.prompts[0])]
        for _ in range(3):
            reply = self.answer(engine, messages)
            self.check(reply)
            messages += [reply.said.message, _user("And then?")]

    def test_every_kind_of_message_is_taken(self, engine: ChatEngine) -> None:
        """Those of a task with tools, and what a model may write."""
        odd = 'a \x00 b \x1b[31m \N{SNOWMAN} \U0001f600 "quoted" \n\r\t ' + "long " * 500
        self.check(self.answer(engine, TOOLS_USED, [ADD]))
        self.check(self.answer(engine, [_user(odd)]))
        self.check(self.answer(engine, [_user("")]))

    def test_calls_of_tools_can_be_made(self, engine: ChatEngine) -> None:
        """Each names a function and has an object of arguments; what cannot be read as a call is text."""
        said = self.answer(engine, [_user("What is 17 + 25? Use the tool.")], [ADD]).said
        for call in said.tool_calls:
            assert isinstance(call["function"]["name"], str)
            assert isinstance(call["function"]["arguments"], dict)
            assert call.get("id"), "a call needs an id, by which its answer finds it"
        assert not said.unreadable or said.content

    def test_a_reply_is_at_most_as_long_as_asked_for(self, engine: ChatEngine) -> None:
        """As far as tokens are counted; `length` says that the limit cut it off."""
        for limit in (1, 16):
            reply = self.answer(engine, [_user(self.prompts[0])], limit=limit)
            assert reply.completion_tokens <= limit
            assert reply.finish_reason in ("stop", "length")

    def test_any_seed_is_taken(self, engine: ChatEngine) -> None:
        """That of a reply is derived from the run's, and may be large."""
        for seed in (0, 2**63 - 1):
            sampling = Sampling(max_new_tokens=8, temperature=1.0, seed=seed)
            self.check(engine.reply([_user(self.prompts[0])], (), sampling).result(self.seconds))

    def test_many_conversations_are_under_way_at_once(self, engine: ChatEngine) -> None:
        """More than `concurrency`: asking is no waiting, and each one has its own reply."""
        number = min(2 * engine.concurrency, 64) + 1
        asked = [self.ask(engine, [_user(self.prompts[i % len(self.prompts)])]) for i in range(number)]
        assert len(set(map(id, asked))) == number
        for one in asked:
            self.check(one.result(self.seconds))

    def test_a_reply_that_nobody_waits_for_holds_up_no_other(self, engine: ChatEngine) -> None:
        """A rollout that has reached its limit gives its request up."""
        given_up = [self.ask(engine, [_user(text)]) for text in self.prompts]
        for one in given_up:
            one.cancel()
        self.check(self.answer(engine, [_user(self.prompts[0])]))
        self.wait(given_up)

    def test_it_reports_what_it_was_asked(self, engine: ChatEngine) -> None:
        """Into results.json, before the first reply and after each."""
        before = json.dumps(engine.report(), allow_nan=False)
        self.answer(engine, [_user(self.prompts[0])])
        after = json.dumps(engine.report(), allow_nan=False)
        assert before != after, "the report does not count replies"

    def test_closing_gives_up_what_is_under_way(self, engine: ChatEngine) -> None:
        """Nobody is left waiting."""
        asked = [self.ask(engine, [_user(text)]) for text in self.prompts]
        engine.close()
        self.wait(asked)
        for one in asked:
            try:
                self.check(one.result())
            except (EndpointError, CancelledError):
                continue

    def test_what_fails_is_an_endpoint_error(self, broken: ChatEngine) -> None:
        """It says why, and whether further requests would fail too; an error of another class ends the job."""
        with pytest.raises(EndpointError) as raised:
            self.answer(broken, [_user(self.prompts[0])])
        assert raised.value.kind
        assert raised.value.cause
        json.dumps(broken.report(), allow_nan=False)

    def ask(
        self,
        engine: ChatEngine,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        sampling: Sampling = SAMPLING,
    ) -> Future[ChatReply]:
        """A reply that is to come."""
        asked = engine.reply(messages, tools, sampling)
        assert isinstance(asked, Future)
        return asked

    def answer(
        self,
        engine: ChatEngine,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        limit: int = SAMPLING.max_new_tokens,
    ) -> ChatReply:
        """The reply."""
        sampling = Sampling(max_new_tokens=limit, temperature=0.0)
        return self.ask(engine, messages, tools, sampling).result(self.seconds)

    def wait(self, asked: Sequence[Future[ChatReply]]) -> None:
        """Until all have ended or were cancelled."""
        until = time.monotonic() + self.seconds
        while not all(one.done() for one in asked):
            assert time.monotonic() < until, f"a reply has not ended within {self.seconds:g} s"
            time.sleep(0.01)

    def check(self, reply: ChatReply) -> None:
        """That it can be recorded, sent again and counted."""
        assert isinstance(reply, ChatReply)
        assert isinstance(reply.said, Parsed)
        assert isinstance(reply.said.content, str)
        json.dumps(reply.said.message, ensure_ascii=False).encode()
        assert reply.finish_reason in ("stop", "length")
        for count in (reply.prompt_tokens, reply.completion_tokens):
            assert type(count) is int
            assert count >= 0
        cost = reply.cost_usd
        assert cost is None or (isinstance(cost, float) and math.isfinite(cost) and cost >= 0)


def _user(text: str) -> Message:
    return {"role": "user", "content": text}
