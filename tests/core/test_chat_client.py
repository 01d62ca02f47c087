"""The chat client, against a real server on loopback."""

from __future__ import annotations

import asyncio
import json
import logging
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest
from tests.fakes.chat_server import ChatServer, tool_call

from tenyson.core.chat.client import ChatClient
from tenyson.core.chat.usage import Prices
from tenyson.errors import EndpointError

HELLO = [{"role": "user", "content": "hello there"}]
KEY = "sk-canary-0123456789abcdefghijklmn"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with ChatServer() as one:
        yield one


def ask(server: ChatServer, messages=HELLO, *, tools=None, sampling=None, **settings):
    client = ChatClient(server.url, settings.pop("model", "tiny"), **settings)
    try:
        return asyncio.run(client.complete(messages, tools=tools, **(sampling or {}))), client.totals
    finally:
        client.close()


def refusal(server: ChatServer, **settings) -> EndpointError:
    with pytest.raises(EndpointError) as caught:
        ask(server, **settings)
    return caught.value


@pytest.mark.slow
def test_an_answer_has_text_tokens_and_cost(server):
    answer, totals = ask(server, prices=Prices(prompt=1.0, completion=10.0), sampling={"temperature": 0.5})
    assert (answer.text, answer.finish_reason, answer.model) == ("hello there", "stop", "tiny-2026-11-01")
    assert (answer.prompt_tokens, answer.completion_tokens) == (2, 2)
    assert answer.cost == pytest.approx(22e-6)
    assert (totals.requests, totals.answers, totals.cost) == (1, 1, answer.cost)
    assert server.requests == [{"model": "tiny", "messages": HELLO, "temperature": 0.5}]
    assert "authorization" not in server.headers[0]


def test_cached_tokens_have_their_own_price(server):
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 80}}
    server.answer = lambda body: {"content": "ok", "usage": usage}
    answer, totals = ask(server, prices=Prices(prompt=10.0, completion=0.0, cached=1.0))
    assert answer.cost == pytest.approx((20 * 10 + 80) / 1e6)
    assert totals.cached_tokens == 80


def test_without_counts_the_cost_is_unknown(server):
    server.answer = lambda body: {"content": "ok", "usage": None}
    answer, totals = ask(server, prices=Prices(1.0, 1.0))
    assert (answer.prompt_tokens, answer.completion_tokens, answer.cost) == (None, None, None)
    assert (totals.uncounted, totals.cost) == (1, None)


def test_reasoning_calls_and_refusals_are_read(server):
    server.answer = lambda body: {
        "reasoning_content": "hm",
        "tool_calls": [tool_call("add", {"a": 1}), tool_call("add", "{broken"), tool_call("add", "[1]")],
    }
    answer, _ = ask(server, tools=[{"type": "function", "function": {"name": "add"}}])
    assert (answer.text, answer.reasoning, answer.finish_reason) == ("", "hm", "tool_calls")
    assert answer.tool_calls == [
        {"type": "function", "id": "call_a", "function": {"name": "add", "arguments": {"a": 1}}}
    ]
    assert ["{broken" in one or "[1]" in one for one in answer.unreadable] == [True, True]
    assert server.requests[0]["tools"][0]["function"]["name"] == "add"
    server.answer = lambda body: {"refusal": "I cannot."}
    assert ask(server)[0].text == "I cannot."
    parts = [{"type": "thinking", "thinking": [{"text": "so"}]}, {"type": "text", "text": "yes"}]
    server.answer = lambda body: {"content": parts}
    answer, _ = ask(server)
    assert (answer.text, answer.reasoning) == ("yes", "so")


def test_a_conversation_with_tools_goes_out_in_the_apis_form(server):
    call = {"type": "function", "id": "c1", "function": {"name": "add", "arguments": {"a": 1}}}
    ask(
        server,
        [
            *HELLO,
            {"role": "assistant", "content": "", "reasoning": "hm", "tool_calls": [call]},
            {"role": "tool", "name": "add", "tool_call_id": "c1", "content": "2"},
            {"role": "tool", "name": "unknown", "content": "unreadable"},
        ],
    )
    _, assistant, tool, lost = server.requests[0]["messages"]
    assert assistant["content"] is None
    assert "reasoning" not in assistant
    assert json.loads(assistant["tool_calls"][0]["function"]["arguments"]) == {"a": 1}
    assert tool == {"role": "tool", "content": "2", "tool_call_id": "c1"}
    assert lost == {"role": "user", "content": "unreadable"}


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["500", "503", "429", "408", "drop", "cut", "garbage", "odd"])
def test_what_may_pass_is_tried_again(server, fault):
    server.faults.append(fault)
    answer, totals = ask(server)
    assert answer.text == "hello there"
    assert (totals.requests, totals.retries, totals.answers) == (2, 1, 1)
    assert totals.rate_limited == (fault == "429")


def test_a_server_that_hangs_is_tried_again(server):
    server.faults.append("hang")
    assert ask(server, seconds=0.3)[1].retries == 1


def test_the_wait_that_a_rate_limit_asks_for_holds_every_request(server):
    server.faults.append("429 1")
    client = ChatClient(server.url, "tiny")
    try:
        first = client.submit(HELLO)
        while not client.totals.rate_limited:
            time.sleep(0.01)
        second = client.submit(HELLO)
        assert [first.result(10).text, second.result(10).text] == ["hello there"] * 2
    finally:
        client.close()
    assert min(server.times[1:]) - server.times[0] >= 0.99


def test_a_limit_that_is_used_up_is_waited_for(server):
    server.exhausted = "400ms"
    client = ChatClient(server.url, "tiny")
    for _ in range(2):
        client.submit(HELLO).result(10)
    client.close()
    assert server.times[1] - server.times[0] >= 0.39


def test_a_wait_beyond_the_patience_ends_at_once(server):
    server.faults.append("429 1000")
    error = refusal(server, retry_seconds=5)
    assert (error.kind, error.lasting) == ("rate_limit", False)
    assert "it asks to wait 1000 s" in str(error)
    assert len(server.requests) == 1


def test_patience_ends_with_what_was_wrong(server):
    server.faults.extend(["503"] * 20)
    error = refusal(server, retry_seconds=1.2)
    assert (error.kind, error.exit_status) == ("server", 1)
    assert "Slow down." in str(error)
    assert "tried 2 times" in str(error)


@pytest.mark.slow
def test_an_answer_that_is_none_is_bought_three_times_at_most(server):
    server.faults.extend(["garbage"] * 20)
    error = refusal(server)
    assert error.kind == "answer"
    assert "<html>" in str(error)
    assert len(server.requests) == 3


def test_an_answer_without_end_costs_its_request_and_no_memory(server, monkeypatch):
    monkeypatch.setattr("tenyson.core.chat.client.LONGEST_BODY", 1_000_000)
    monkeypatch.setattr("tenyson.core.chat.client.UNREADABLE_ATTEMPTS", 1)
    server.answer = lambda body: "x" * 3_000_000
    error = refusal(server)
    assert (error.kind, "it is longer than" in str(error)) == ("answer", True)


@pytest.mark.slow
@pytest.mark.parametrize("content", [5, {"a": 1}, ["a"], [{"text": 3}], [{"thinking": 3}]])
def test_odd_contents_are_no_answers_or_empty_ones(server, content):
    server.answer = lambda body: {"content": content, "usage": "none", "tool_calls": "none", "logprobs": 3}
    if isinstance(content, list) and content != [{"thinking": 3}]:
        assert ask(server)[0].text == ""
    else:
        assert refusal(server).kind == "answer"


def test_requests_keep_their_number_and_their_pace():
    with ChatServer(seconds=0.05) as server:
        client = ChatClient(server.url, "tiny", concurrency=3, requests_per_minute=1200)
        futures = [client.submit(HELLO) for _ in range(9)]
        assert all(future.result(10).text for future in futures)
        client.close()
        assert server.most_at_once <= 3
        assert server.times[-1] - server.times[0] >= 6 * 0.05


def test_many_requests_run_at_once():
    with ChatServer(seconds=0.3) as server:
        client = ChatClient(server.url, "tiny")
        client.submit(HELLO).result(10)  # imports the package
        begun = time.monotonic()
        futures = [client.submit(HELLO) for _ in range(64)]
        assert all(future.result(20).text for future in futures)
        seconds = time.monotonic() - begun
        client.close()
        assert server.most_at_once > 32
        assert seconds < 3


def test_a_missing_key_names_its_variable(server, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    error = refusal(server, api_key_env="MY_KEY")
    assert (error.kind, error.lasting) == ("key", True)
    assert "export MY_KEY=" in str(error)
    monkeypatch.setenv("MY_KEY", "ä\nb")
    assert "can be no key" in str(refusal(server, api_key_env="MY_KEY"))
    assert server.requests == []


def test_a_refused_key_is_told_without_the_key(server, monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    server.key = "another"
    monkeypatch.setenv("MY_KEY", KEY)
    error = refusal(server, api_key_env="MY_KEY")
    assert error.kind == "key"
    assert "Check MY_KEY." in str(error)
    assert "Bearer ***" in str(error)  # the server repeats what it got
    assert error.__cause__ is None
    assert KEY not in f"{error!s}{error!r}{caplog.text}{vars(error)}"
    assert len(server.requests) == 1
    error = refusal(server)
    assert "wants a key, and none was named" in str(error)
    server.key = KEY
    assert ask(server, api_key_env="MY_KEY")[0].text == "hello there"


def test_the_packages_own_variables_do_not_leave_for_another_endpoint(server, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_ORG_ID", "org-canary")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "project-canary")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    ask(server)
    assert "canary" not in str(server.headers)


def test_wrong_models_urls_and_parameters_are_told_at_once(server):
    error = refusal(server, model="tinny")
    assert (error.kind, error.lasting, error.exit_status) == ("model", True, 2)
    assert "no model 'tinny'" in str(error)
    client = ChatClient(server.url.removesuffix("/v1"), "tiny")
    with pytest.raises(EndpointError, match="mostly in /v1"):
        client.submit(HELLO).result(10)
    client.close()
    server.unknown_parameters = ("top_k",)
    error = refusal(server, sampling={"top_k": 5})
    assert (error.kind, error.lasting) == ("request", False)
    assert "'top_k' is not supported" in str(error)
    assert len(server.requests) == 3


def test_where_nobody_listens_the_address_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
    client = ChatClient(url, "tiny", retry_seconds=0.2)
    with pytest.raises(EndpointError) as caught:
        client.submit(HELLO).result(10)
    client.close()
    assert caught.value.kind == "connection"
    assert url in str(caught.value)


@pytest.mark.slow
def test_half_a_surrogate_costs_its_own_request_only(server):
    assert refusal(server, messages=[{"role": "user", "content": "\ud800"}]).kind == "request"
    server.answer = lambda body: "half \ud800"
    assert "surrogate" in str(refusal(server))


def test_models_are_listed(server):
    client = ChatClient(server.url, "tiny")
    assert client.models() == ["tiny"]
    client.close()


def test_a_request_can_be_given_up_and_nothing_stays(server):
    server.seconds = 30
    before = set(threading.enumerate())
    client = ChatClient(server.url, "tiny")

    async def impatient():
        async with asyncio.timeout(0.3):
            await client.complete(HELLO)

    with pytest.raises(TimeoutError):
        asyncio.run(impatient())
    waiting = client.submit(HELLO)
    client.close()
    assert waiting.cancelled()
    # The server is this process's too: what it starts for a request is not the client's.
    started = [
        thread.name for thread in set(threading.enumerate()) - before if "process_request" not in thread.name
    ]
    assert started == []


def test_failures_leave_the_random_numbers_alone(server):
    server.faults.extend(["503"])
    random.seed(7)
    wanted = random.random()
    random.seed(7)
    ask(server)
    assert random.random() == wanted


def test_importing_the_client_imports_no_openai():
    code = "import sys; import tenyson.core.chat.client; sys.exit(any(n in sys.modules for n in ('openai', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
