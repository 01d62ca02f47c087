"""The server of `tenyson serve` over engines that are not a model: batches, continuous ones, and one that fails."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import openai
import pytest
from tests.fakes.policy import Policy

from tenyson.engines.endpoint.model_server import ModelServer
from tenyson.engines.endpoint.server import EndpointServer
from tenyson.engines.engine import Sampling

pytestmark = pytest.mark.train


class Batches:
    """Says how many prompts it was given, and keeps how they were to be drawn."""

    def __init__(self, renderer):
        self.policy, self.calls = Policy(renderer), []
        self.working, self.gate = threading.Event(), threading.Event()

    def generate(self, prompts, sampling):
        self.working.set()
        self.gate.wait(20)
        self.calls.append((len(prompts), sampling))
        return [self.policy.reply(f"{number} of {len(prompts)}") for number in range(len(prompts))]


class Continuous:
    """Finishes what was added last first."""

    def __init__(self, renderer):
        self.policy, self.queued, self.dropped = Policy(renderer), [], False

    def add(self, key, prompt, sampling):
        self.queued.append((key, sampling))

    def finished(self):
        if not self.queued:
            return []
        key, sampling = self.queued.pop()
        return [(key, self.policy.reply(f"seed {sampling.seed}"))]

    def drop(self):
        self.dropped = True


class Broken(Continuous):
    """Fails as soon as it is to generate."""

    def finished(self):
        raise RuntimeError("out of memory")


@contextmanager
def serving(engine, renderer):
    """The server in a thread, and a client."""
    server = ModelServer(engine, renderer, Sampling(64), model="m", context=256)
    endpoint, stop, failures = EndpointServer(), threading.Event(), []

    def run():
        try:
            server.run(lambda: not stop.is_set())
        except RuntimeError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    url = endpoint.add("", server)
    with openai.OpenAI(base_url=url, api_key=server.key) as client:
        yield client, failures, server
    stop.set()
    thread.join(10)
    server.close()
    endpoint.close()
    assert not thread.is_alive()


def ask(client, **options):
    messages = [{"role": "user", "content": "?"}]
    answer = client.chat.completions.create(model="m", messages=messages, **options)
    return [one.message.content for one in answer.choices]


def test_what_is_drawn_alike_is_generated_together_and_a_seed_alone(renderer):
    engine = Batches(renderer)
    with serving(engine, renderer) as (client, _, server), ThreadPoolExecutor(8) as pool:
        held = pool.submit(ask, client)  # the engine is at work while the others come
        assert engine.working.wait(20)
        wanted = [{}, {}, {}, {"temperature": 0.5}, {"seed": 1, "n": 2}, {"seed": 1}]
        rest = [pool.submit(ask, client, **options) for options in wanted]
        until = time.monotonic() + 20
        while server.waiting < 7:
            assert time.monotonic() < until
            time.sleep(0.01)
        engine.gate.set()
        assert held.result(20) == ["0 of 1"]
        found = [one.result(20) for one in rest]
    assert sorted(one for (one,) in found[:3]) == ["0 of 3", "1 of 3", "2 of 3"]
    assert found[3] == ["0 of 1"]
    assert found[4] == ["0 of 2", "1 of 2"]
    assert found[5] == ["0 of 1"]
    assert sorted(count for count, _ in engine.calls) == [1, 1, 1, 2, 3]
    assert {sampling.temperature for _, sampling in engine.calls} == {1.0, 0.5}


def test_a_continuous_engine_takes_requests_while_others_are_under_way(renderer):
    with serving(Continuous(renderer), renderer) as (client, _, _), ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda seed: ask(client, seed=seed, n=2), [1, 2, 3, 1, 2, 3]))
    assert found[:3] == found[3:]
    assert len({text for said in found for text in said}) == 6


def test_an_engine_that_fails_says_so_to_whoever_asks_and_ends_the_server(renderer):
    engine = Broken(renderer)
    with serving(engine, renderer) as (client, failures, _):
        with pytest.raises(openai.InternalServerError, match="the engine failed: RuntimeError"):
            ask(client)
        assert engine.dropped
    assert [str(one) for one in failures] == ["out of memory"]


class Endless(Continuous):
    """Never finishes."""

    def finished(self):
        time.sleep(0.01)
        return []


def test_who_waits_when_the_server_ends_is_told_so(renderer):
    engine = Endless(renderer)
    with ThreadPoolExecutor(2) as pool:
        with serving(engine, renderer) as (client, _, _):
            held = [pool.submit(ask, client.with_options(max_retries=0)) for _ in range(2)]
            while len(engine.queued) < 2:
                time.sleep(0.01)
        for one in held:
            with pytest.raises(openai.APIError, match=r"the endpoint is closing|Connection error"):
                one.result(20)
    assert engine.dropped
