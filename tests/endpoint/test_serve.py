"""`tenyson serve`: a real process, asked by the real openai package and by hand."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest

pytestmark = pytest.mark.train

TENYSON = str(Path(sys.executable).with_name("tenyson"))
QUESTION = [{"role": "user", "content": "hello"}]
SECRET = "a-key-that-nobody-prints"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from tenyson.testing.tiny import build

    directory = tmp_path_factory.mktemp("served") / "model"
    build(directory, 0)
    return directory


def start(model, *arguments, **environment):
    command = [TENYSON, "serve", str(model), "--engine", "transformers", *arguments]
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = [process.stdout.readline().strip() for _ in range(2)]
    assert lines[0].startswith("OPENAI_BASE_URL="), process.communicate()[1]
    return process, dict(line.split("=", 1) for line in lines)


@pytest.fixture(scope="module")
def served(model):
    process, said = start(model, "--set", "generation.max_new_tokens=8")
    yield said["OPENAI_BASE_URL"], said["OPENAI_API_KEY"]
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert "Traceback" not in process.stderr.read()


@pytest.fixture(scope="module")
def client(served):
    url, key = served
    with openai.OpenAI(base_url=url, api_key=key) as found:
        yield found


@pytest.fixture(scope="module")
def name(model):
    return str(model)


def chat(client, name, **options):
    return client.chat.completions.create(**({"model": name, "messages": QUESTION} | options))


def test_models_are_listed(client, name):
    assert [one.id for one in client.models.list()] == [name]


def test_a_seed_draws_the_same_replies_and_n_are_different(client, name):
    options = {"n": 4, "seed": 3, "max_tokens": 12, "temperature": 1.0}
    first, again = ([one.message.content for one in chat(client, name, **options).choices] for _ in range(2))
    assert first == again
    assert len(set(first)) == 4
    other = chat(client, name, **options | {"seed": 4})
    assert [one.message.content for one in other.choices] != first


def test_logprobs_are_those_of_what_was_drawn(client, name, model):
    """They are equal to a forward pass of the model on the ids that the endpoint reports."""
    from transformers import AutoModelForCausalLM

    from tenyson.engines.policy import model_logprobs

    answer = chat(client, name, logprobs=True, seed=1, extra_body={"return_token_ids": True})
    choice = answer.choices[0]
    ids = choice.model_extra["token_ids"]
    prompt = answer.model_extra["prompt_token_ids"]
    told = [one.logprob for one in choice.logprobs.content]
    assert answer.usage.completion_tokens == len(ids) == len(told)
    expected = model_logprobs(AutoModelForCausalLM.from_pretrained(model), prompt + ids)[-len(ids) :]
    assert told == pytest.approx(expected, abs=1e-4)


def test_greedy_max_tokens_and_stop(client, name):
    answer = chat(client, name, temperature=0, max_tokens=6)
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (6, "length")
    whole = chat(client, name, seed=1).choices[0].message.content
    stop = whole[1:3]
    cut = chat(client, name, seed=1, stop=[stop, "nowhere"])
    assert cut.choices[0].message.content == whole[:1]
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("stop", 3)


def test_a_stream_says_the_same(client, name):
    options = {"temperature": 0, "max_tokens": 6}
    whole = chat(client, name, **options)
    pieces = list(chat(client, name, stream=True, stream_options={"include_usage": True}, **options))
    text = "".join(one.choices[0].delta.content or "" for one in pieces if one.choices)
    assert text == whole.choices[0].message.content
    assert [one.choices[0].finish_reason for one in pieces if one.choices][-1] == "length"
    assert pieces[-1].usage.completion_tokens == 6


def test_completions_continue_texts_and_ids(client, name):
    options = {"model": name, "max_tokens": 5, "temperature": 0, "logprobs": 0}
    one = client.completions.create(prompt="abc", **options)
    many = client.completions.create(prompt=["abc", "xyz"], n=2, **options)
    assert [choice.text for choice in many.choices[:2]] == [one.choices[0].text] * 2
    assert len(many.choices) == 4
    assert len(one.choices[0].logprobs.token_logprobs) == 5


def test_many_ask_at_once(client, name):
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda seed: chat(client, name, seed=seed).choices[0].finish_reason, range(16)))
    assert set(found) <= {"stop", "length"}


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"temperature": 3}, "temperature"),
        ({"n": 0}, "n"),
        ({"max_tokens": True}, "max_tokens"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"extra_body": {"guided_json": {}}}, "guided_json"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0]",
        ),
        ({"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    ],
)
def test_what_would_have_no_effect_is_refused_by_its_name(client, name, options, param):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, name, **options)
    assert caught.value.param == param


def test_a_context_that_is_too_long_and_a_foreign_model(client, name):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, name, messages=[{"role": "user", "content": "x" * 300}])
    assert caught.value.code == "context_length_exceeded"
    with pytest.raises(openai.NotFoundError):
        chat(client, "gpt-4o")


def ask(served, *, path="/v1/chat/completions", body=b"{}", key=None, **headers):
    url, own = served
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    given = {"Authorization": f"Bearer {key or own}", "Content-Type": "application/json"} | headers
    connection.request("POST", path, body, given)
    answer = connection.getresponse()
    found = answer.status, json.loads(answer.read())["error"]
    connection.close()
    return found


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"key": "wrong"}, 401),
        ({"key": "ключ".encode().decode("latin-1")}, 401),
        ({"Authorization": ""}, 401),
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:80"}, 403),
        ({"path": "/another/v1/chat/completions"}, 404),
        ({"path": "/v1/embeddings"}, 404),
        ({"path": "/v1/models"}, 405),
        ({"body": b"{"}, 400),
        ({"body": b"\xff\xfe"}, 400),
        ({"body": b"[" * 100_000}, 400),
        ({"body": b"[]"}, 400),
        ({"body": b'{"messages": [{"role": "user", "content": "\\ud800"}], "model": "m"}'}, 400),
        ({"body": b" " * (17 * 2**20)}, 413),
        ({"body": iter([b"{}"])}, 411),
    ],
)
def test_who_may_not_ask_and_what_cannot_be_read(served, options, status):
    assert ask(served, **options)[0] == status


@pytest.mark.parametrize("header", [("Transfer-Encoding", "chunked"), ("Content-Length", "99999999")])
def test_a_client_that_sends_slowly_what_is_refused_still_reads_why(served, header):
    """A connection that is closed while a client still sends is reset, and the answer with it."""
    url, key = served
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)
    connection.putrequest("POST", "/v1/chat/completions")
    connection.putheader("Authorization", f"Bearer {key}")
    connection.putheader(*header)
    connection.endheaders()
    for _ in range(5):
        time.sleep(0.1)
        connection.send(b"2\r\n{}\r\n" * 10_000)
    assert connection.getresponse().status in (411, 413)
    connection.close()


def test_a_body_of_a_gigabyte_is_refused_and_kept_nowhere(served):
    size = 1 << 30
    pieces = (b" " * (1 << 20) for _ in range(1 << 10))
    found, error = ask(served, body=pieces, **{"Content-Length": str(size)})
    assert found == 413
    assert "16,777,216" in error["message"]


def test_a_client_that_leaves_and_one_that_sends_nothing_hold_nobody_up(served, client, name):
    url, key = served
    half = http.client.HTTPConnection(urlsplit(url).netloc)
    half.putrequest("POST", "/v1/chat/completions")
    half.putheader("Content-Length", "100")
    half.endheaders()
    left = http.client.HTTPConnection(urlsplit(url).netloc)
    body = json.dumps({"model": name, "messages": QUESTION, "n": 8})
    left.request("POST", "/v1/chat/completions", body, {"Authorization": f"Bearer {key}"})
    left.close()
    assert chat(client, name).choices
    half.close()


def test_a_key_of_ones_own_is_not_printed(model):
    process, said = start(model, TENYSON_API_KEY=SECRET)
    try:
        assert said["OPENAI_API_KEY"] == "$TENYSON_API_KEY"
        with openai.OpenAI(base_url=said["OPENAI_BASE_URL"], api_key=SECRET) as client:
            assert client.models.list().data
    finally:
        process.send_signal(signal.SIGTERM)
    timer = threading.Timer(20, process.kill)
    timer.start()
    out, err = process.communicate()
    timer.cancel()
    assert process.returncode == 0
    assert SECRET not in out + err
    assert "Traceback" not in err


def test_a_port_that_is_taken_and_a_model_that_is_nowhere(model, served):
    port = urlsplit(served[0]).port
    command = [TENYSON, "serve", str(model), "--engine", "transformers", "--port", str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert f"port {port} cannot be used" in done.stderr
    done = subprocess.run(
        [TENYSON, "serve", "./nowhere"], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "there is no such model directory" in done.stderr
