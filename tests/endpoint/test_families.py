"""Requests continue conversations by their own ids with every chat template that TRL ships."""

from __future__ import annotations

import pytest
from tests.engines.families import families, tokenizer_of
from tests.engines.test_tools import NO_TOOLS

from tenyson.engines.endpoint.answer import Answer
from tenyson.engines.endpoint.choice import choose
from tenyson.engines.endpoint.conversations import Conversations
from tenyson.engines.endpoint.parameters import read_chat
from tenyson.engines.engine import Reply
from tenyson.engines.renderers import Renderer
from tenyson.errors import ModelError
from tenyson.tasks import Sample

pytestmark = pytest.mark.train

FIND = {
    "type": "function",
    "function": {
        "name": "find",
        "description": "Find a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
QUESTION = [{"role": "user", "content": "hi"}]
CALLS = [{"type": "function", "function": {"name": "find", "arguments": {"city": "Rome"}}}]
ENDS_OTHERWISE = {"gptoss"}
"""Its template ends a reply with another token where a user's message follows, so what it wrote cannot be continued."""


def written(renderer, tools):
    """A reply as the model would write it, with a call where there are tools."""
    said = {"role": "assistant", "content": "" if tools else "hello there"} | (
        {"tool_calls": CALLS} if tools else {}
    )
    for reply in (said, said | {"reasoning": "thinking"}):  # some begin within a thought
        try:
            ids, mask = renderer.conversation(Sample("one", QUESTION, [reply], tools=tools))
        except ModelError:
            continue
        return [token for token, flag in zip(ids, mask, strict=True) if flag]
    raise AssertionError


@pytest.mark.parametrize(
    ("family", "tools"), [(one, tools) for one in families() for tools in ((), (FIND,)) if not tools or one not in NO_TOOLS]
)  # fmt: skip
def test_a_request_that_repeats_a_reply_continues_its_ids(family, tools):
    renderer = Renderer(tokenizer_of(family))
    conversations = Conversations(renderer)
    body = {"model": "m", "tools": list(tools) or None}
    request = read_chat(body | {"messages": QUESTION})
    prompt = conversations.prompt_of(request)
    choice = choose(Reply(written(renderer, tools), "stop"), request, renderer, most=None, name="call001")
    conversations.add(prompt, choice)
    [said] = Answer(request, [prompt.ids], [choice]).body()["choices"]
    calls = said["message"].get("tool_calls", [])
    assert len(calls) == len(tools)
    results = [{"role": "tool", "tool_call_id": one["id"], "content": "42"} for one in calls]
    more = results or [{"role": "user", "content": "more"}]
    then = conversations.prompt_of(read_chat(body | {"messages": [*QUESTION, said["message"], *more]}))
    if family in ENDS_OTHERWISE and not tools:
        assert then.changed
        return
    assert then.changed is None
    assert then.ids[: len(prompt.ids) + len(choice.ids)] == prompt.ids + choice.ids
    bridge = renderer.between(choice.message, [*more], ended=True)
    assert then.ids == prompt.ids + choice.ids + bridge
