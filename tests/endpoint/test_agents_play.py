"""Rollouts that an agent plays over the endpoint: what it writes against the openai package is recorded token by token."""

from __future__ import annotations

import asyncio
import gc
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import openai
import pytest
from tests.fakes.policy import Policy

from tenyson.engines.play import play
from tenyson.engines.rollouts.abandoned import ABANDONED
from tenyson.engines.rollouts.limits import Limits
from tenyson.tasks import AgentCommand, Sample, TaskPlugin

pytestmark = pytest.mark.train

QUESTION = [{"role": "user", "content": "How warm?"}]
LOOK = {
    "type": "function",
    "function": {"name": "look", "description": "", "parameters": {"type": "object", "properties": {}}},
}
CALL = '<tool_call>{"name": "look", "arguments": {}}</tool_call>'


def playing(function):
    """A task whose agent is `function(sample, endpoint)`."""
    return type("Agents", (TaskPlugin,), {"agent": staticmethod(function), "name": "agents"})()


def client(endpoint, **options):
    return openai.OpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key, **options)


def samples(count=1):
    return [Sample(f"one/{number}", QUESTION) for number in range(count)]


def played(task, renderer, policy, *, count=1, turns=8, limits=None, **settings):
    limits = limits or Limits(step_seconds=20, **settings)
    return play(task, samples(count), renderer, policy, max_turns=turns, limits=limits)


def looked(sample, endpoint):
    """Asks, answers the call of a tool, and asks again."""
    model, messages = client(endpoint), list(sample.prompt)
    for _ in range(3):
        said = model.chat.completions.create(model="any", messages=messages, tools=[LOOK]).choices[0]
        messages.append(said.message)
        if not said.message.tool_calls:
            return said.message.content
        for call in said.message.tool_calls:
            messages.append({"role": "tool", "tool_call_id": call.id, "content": "21 C"})
    return None


def test_requests_that_extend_a_conversation_are_one_trajectory_of_the_models_own_ids(renderer):
    policy = Policy(renderer, f"I look.{CALL}", "21 C")
    [one] = played(playing(looked), renderer, policy)
    assert one.rollout.info["result"] == "21 C"
    assert one.rollout.info["conversations"] == 1
    first, second = (policy.reply(text).ids for text in policy.texts)
    assert one.prompt_ids == policy.prompts[0]
    begin = len(one.prompt_ids) + len(first)
    bridge = policy.prompts[1][begin:]
    assert (one.prompt_ids + one.completion_ids)[: len(policy.prompts[1])] == policy.prompts[1]
    assert one.completion_ids == first + bridge + second
    assert one.mask == [1] * len(first) + [0] * len(bridge) + [1] * len(second)
    assert one.logprobs == [-0.5] * len(first) + [0.0] * len(bridge) + [-0.5] * len(second)
    assert renderer.raw(bridge) == "<user>21 C<model>"
    assert [message["role"] for message in one.rollout.messages] == ["assistant", "tool", "assistant"]
    assert one.rollout.tokens == len(first) + len(second)


def test_an_async_agent_and_a_command_play_the_same(renderer, tmp_path):
    async def looks(sample, endpoint):
        return await asyncio.to_thread(looked, sample, endpoint)

    script = tmp_path / "agent.py"
    script.write_text(
        "import json, sys, openai\n"
        "sample, model = json.load(sys.stdin), openai.OpenAI()\n"
        f"look = {LOOK!r}\n"
        "messages = sample['prompt']\n"
        "while True:\n"
        "    said = model.chat.completions.create(model='gpt-4o', messages=messages, tools=[look]).choices[0].message\n"
        "    if not said.tool_calls:\n"
        "        break\n"
        "    messages.append(said.model_dump(exclude_none=True))\n"
        "    messages += [{'role': 'tool', 'tool_call_id': one.id, 'content': '21 C'} for one in said.tool_calls]\n"
        "print(json.dumps({'said': said.content, 'id': sample['id']}))\n"
    )
    texts = f"I look.{CALL}", "21 C"
    [plain] = played(playing(looked), renderer, Policy(renderer, *texts))
    [awaited] = played(playing(looks), renderer, Policy(renderer, *texts))
    command = playing(lambda sample, endpoint: AgentCommand([sys.executable, str(script)]))
    [printed] = played(command, renderer, Policy(renderer, *texts))
    for one in (awaited, printed):
        assert (one.prompt_ids, one.completion_ids, one.mask) == (
            plain.prompt_ids,
            plain.completion_ids,
            plain.mask,
        )
    assert printed.rollout.info["result"] == {"said": "21 C", "id": "one/0"}


def test_many_agents_ask_in_rounds_whoever_is_slow(renderer):
    rounds = []

    def slow(sample, endpoint):
        model, messages = client(endpoint), list(sample.prompt)
        for turn in range(2):
            time.sleep(0.02 * (int(sample.id[-1]) % 3))
            said = model.chat.completions.create(model="any", messages=messages).choices[0].message
            messages += [said, {"role": "user", "content": f"again {turn}"}]
        return sample.id

    policy = Policy(renderer, "one", "two")

    def generate(prompts, turn):
        rounds.append(len(prompts))
        return policy(prompts, turn)

    found = played(playing(slow), renderer, generate, count=8)
    assert rounds == [8, 8]
    assert [one.rollout.info["result"] for one in found] == [f"one/{number}" for number in range(8)]


def test_a_changed_history_begins_a_further_conversation_and_is_recorded(renderer):
    def strips(sample, endpoint):
        model = client(endpoint)
        said = model.chat.completions.create(model="any", messages=list(sample.prompt)).choices[0].message
        again = [*sample.prompt, {"role": "assistant", "content": said.content.strip()}, QUESTION[0]]
        return model.chat.completions.create(model="any", messages=again).choices[0].message.content

    [one] = played(playing(strips), renderer, Policy(renderer, "  21 C", "cold"))
    info = one.rollout.info
    assert info["conversations"] == 2
    assert info["history_changed"] == [
        "request 2: message 1, of the role assistant, is another one than before"
    ]
    [further] = info["further"]
    assert {renderer.raw(one.completion_ids), further["completion"]} == {"  21 C<eos>", "cold<eos>"}
    assert one.rollout.tokens == 12


def test_a_rollout_that_asks_too_often_is_cut_off(renderer):
    ended = threading.Event()

    def asks(sample, endpoint):
        model = client(endpoint)
        try:
            while True:
                model.chat.completions.create(model="any", messages=list(sample.prompt))
        finally:
            ended.set()

    [one] = played(playing(asks), renderer, Policy(renderer, "21 C"), turns=3)
    assert one.rollout.finish_reason == "turns"
    assert one.rollout.info["conversations"] == 3
    assert ended.wait(5)


def test_n_replies_are_each_recorded(renderer):
    def asks(sample, endpoint):
        choices = (
            client(endpoint).chat.completions.create(model="m", messages=list(sample.prompt), n=3).choices
        )
        return [one.message.content for one in choices]

    [one] = played(playing(asks), renderer, Policy(renderer, "a", "b", "c"))
    assert one.rollout.info["result"] == ["a", "b", "c"]
    assert one.rollout.info["conversations"] == 3


def test_a_context_that_is_too_long_is_refused_as_openai_does(renderer):
    def asks(sample, endpoint):
        long = [{"role": "user", "content": "x" * 200}]
        with pytest.raises(openai.BadRequestError) as caught:
            client(endpoint).chat.completions.create(model="m", messages=long)
        return caught.value.code

    [one] = played(playing(asks), renderer, Policy(renderer, "a"), context=100)
    assert one.rollout.info["result"] == "context_length_exceeded"
    assert one.rollout.info["requests_refused"] == {"context_length_exceeded": 1}


def test_an_agent_that_fails_since_the_context_is_full_has_a_rollout_that_counts(renderer):
    """The model wrote that much: to try again, or to leave such rollouts out, would prefer short ones."""

    def asks(sample, endpoint):
        model, messages = client(endpoint), list(sample.prompt)
        while True:
            said = model.chat.completions.create(model="m", messages=messages).choices[0].message
            messages += [said, {"role": "user", "content": "again"}]

    [one] = played(playing(asks), renderer, Policy(renderer, "a" * 30), context=100, turns=50)
    assert (one.rollout.finish_reason, one.rollout.error, one.rollout.retried) == ("length", None, ())
    assert 60 < len(one.prompt_ids + one.completion_ids) <= 100


def test_sampling_that_an_agent_asks_for_is_noted_and_max_tokens_is_followed(renderer):
    def asks(sample, endpoint):
        return (
            client(endpoint)
            .chat.completions.create(
                model="m", messages=list(sample.prompt), temperature=0.2, seed=7, max_tokens=3
            )
            .choices[0]
            .finish_reason
        )

    [one] = played(playing(asks), renderer, Policy(renderer, "12345"))
    assert one.rollout.info["result"] == "length"
    assert one.rollout.info["sampling_asked"] == {"temperature": [0.2], "seed": [7]}
    assert one.completion_ids == renderer.tokenizer("123", add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize(
    ("agent", "why"),
    [
        (lambda *_: 1 / 0, "ZeroDivisionError"),
        (lambda *_: sys.exit(3), "SystemExit"),
        (lambda *_: object(), "no JSON"),
        (
            lambda *_: AgentCommand([sys.executable, "-c", "import sys; sys.exit('no such game')"]),
            "no such game",
        ),
        (lambda *_: AgentCommand(["/nowhere"]), "cannot start"),
        (lambda *_: AgentCommand("python agent.py"), "not a list of arguments"),
        (
            lambda *_: AgentCommand([sys.executable, "-c", "print('x' * 70_000_000)"]),
            "printed more than 64 MiB",
        ),
        (lambda *_: time.sleep(1.5), "no answer within"),
        (lambda *_: AgentCommand(["sleep", "60"]), "no answer within"),
    ],
)
def test_a_fault_of_an_agent_names_task_sample_and_cause(renderer, agent, why):
    begun = time.monotonic()
    [one] = played(
        playing(agent), renderer, Policy(renderer, "a"), limits=Limits(step_seconds=0.7, retries=0)
    )
    error = one.rollout.error
    assert one.rollout.finish_reason == "error"
    assert error.source == "agent"
    assert re.search(r"agent\(\) of the task agents.*one/0", error.message)
    assert why in error.message
    assert time.monotonic() - begun < 5


def test_nothing_of_an_agent_stays_and_its_key_is_told_to_nobody(renderer, tmp_path):
    told = tmp_path / "told"
    script = (
        "import os, subprocess, sys\n"
        "child = subprocess.Popen(['sleep', '300'])\n"
        f"open({str(told)!r}, 'w').write(f'{{child.pid}} {{os.environ[\"OPENAI_API_KEY\"]}}')\n"
        "sys.exit('the key is ' + os.environ['OPENAI_API_KEY'])\n"
    )
    before = {thread.name for thread in threading.enumerate()}
    [one] = played(
        playing(lambda *_: AgentCommand([sys.executable, "-c", script])), renderer, Policy(renderer, "a")
    )
    child, key = told.read_text().split()
    error = one.rollout.error
    assert key not in f"{error.message} {error.traceback}"
    assert "the key is ***" in error.message
    until = time.monotonic() + 5
    while Path(f"/proc/{child}").exists() and "Z" not in Path(f"/proc/{child}/stat").read_text():
        assert time.monotonic() < until
        time.sleep(0.05)
    after = {thread.name for thread in threading.enumerate() if thread.name.startswith("tenyson")}
    assert not {one for one in after - before if "world" not in one}


def test_a_result_reaches_rewards_as_json(renderer):
    [one] = played(playing(lambda *_: {"score": 1}), renderer, Policy(renderer, "a"))
    assert json.dumps(one.rollout.info["result"]) == '{"score": 1}'
    assert one.completion_ids == []


def test_an_agent_that_fails_is_run_again_with_the_same_replies(renderer):
    """The model is asked once for each reply, so that no reply is preferred; what went wrong is recorded."""
    tries = []

    def fails(sample, endpoint):
        tries.append(looked(sample, endpoint))
        if len(tries) < 3:
            raise ConnectionError(f"the world is away: {endpoint.api_key}")
        return tries

    policy = Policy(renderer, f"I look.{CALL}", "21 C", "never asked")
    [one] = played(playing(fails), renderer, policy)
    assert one.rollout.info["result"] == ["21 C"] * 3
    assert one.rollout.error is None
    assert [(error.source, error.kind) for error in one.rollout.retried] == [("agent", "ConnectionError")] * 2
    assert "the world is away: *** (" in one.rollout.retried[0].message
    assert "the world is away: ***" in one.rollout.retried[0].traceback
    assert len(policy.prompts) == 2


def test_a_rollout_has_a_deadline(renderer):
    def slow(sample, endpoint):
        while True:
            client(endpoint).chat.completions.create(model="any", messages=list(sample.prompt))
            time.sleep(0.2)

    begun = time.monotonic()
    [one] = played(playing(slow), renderer, Policy(renderer, "a"), turns=100, rollout_seconds=1.0)
    assert time.monotonic() - begun < 4
    assert one.rollout.error.kind == "TimeoutError"


def test_the_key_of_one_rollout_opens_no_other(renderer):
    seen = []

    def crosses(sample, endpoint):
        seen.append(endpoint)
        while len(seen) < 2:
            time.sleep(0.01)
        [other] = [one for one in seen if one.base_url != endpoint.base_url]
        with pytest.raises(openai.AuthenticationError):
            openai.OpenAI(base_url=other.base_url, api_key=endpoint.api_key).models.list()
        unknown = endpoint.base_url.replace(endpoint.base_url.split("/")[3], "unknown")
        with pytest.raises(openai.NotFoundError):
            openai.OpenAI(base_url=unknown, api_key=endpoint.api_key).models.list()
        assert endpoint.api_key not in repr(endpoint)
        return client(endpoint).models.list().data[0].id

    found = played(playing(crosses), renderer, Policy(renderer, "a"), count=2)
    assert [one.rollout.info["result"] for one in found] == ["policy"] * 2


def test_requests_at_once_of_one_rollout_are_each_answered(renderer):
    async def asks(sample, endpoint):
        async with openai.AsyncOpenAI(base_url=endpoint.base_url, api_key=endpoint.api_key) as model:
            found = await asyncio.gather(
                *(
                    model.chat.completions.create(
                        model="any", messages=[{"role": "user", "content": f"question {number}"}]
                    )
                    for number in range(4)
                )
            )
        return sorted(one.choices[0].message.content for one in found)

    [one] = played(playing(asks), renderer, Policy(renderer, "a", "b", "c", "d"))
    assert one.rollout.info["result"] == ["a", "b", "c", "d"]
    assert one.rollout.info["conversations"] == 4


def test_an_earlier_point_of_a_conversation_is_continued_with_its_own_ids(renderer):
    """A branch reads what the model wrote before it, id by id, and is a further conversation."""

    def branches(sample, endpoint):
        model, messages = client(endpoint), list(sample.prompt)
        said = model.chat.completions.create(model="any", messages=messages).choices[0].message
        for question in ("and then?", "or else?"):
            more = [*messages, said, {"role": "user", "content": question}]
            model.chat.completions.create(model="any", messages=more)

    policy = Policy(renderer, "first", "second, longer", "third")
    [one] = played(playing(branches), renderer, policy)
    first = policy.prompts[0] + policy.reply("first").ids
    assert all(prompt[: len(first)] == first for prompt in policy.prompts[1:])
    [further] = one.further
    assert further.prompt_ids == policy.prompts[2]
    assert further.completion_ids == policy.reply("third").ids
    assert "history_changed" not in one.rollout.info


UNTRAINED = {"train": "false", "player": "opponent"}


def test_nothing_is_learnt_from_an_untrained_conversation_and_it_is_no_row(renderer):
    """Both players say the same at first: each continues what it has said itself."""

    def plays(sample, endpoint):
        model, me, other = client(endpoint), list(sample.prompt), list(sample.prompt)
        for messages, more in ((me, {}), (other, {"metadata": UNTRAINED})) * 2:
            said = model.chat.completions.create(model="any", messages=messages, **more).choices[0].message
            messages += [said, {"role": "user", "content": "again"}]

    policy = Policy(renderer, "same", "same", "mine", "one that is longer")
    [one] = played(playing(plays), renderer, policy)
    same, mine = policy.reply("same").ids, policy.reply("mine").ids
    assert one.prompt_ids + one.completion_ids == policy.prompts[2] + mine
    assert [one.completion_ids[at] for at, flag in enumerate(one.mask) if flag] == same + mine
    assert one.further == []
    info = one.rollout.info
    [other] = info["further"]
    longer = policy.reply("one that is longer").ids
    assert renderer.raw(policy.prompts[3] + longer) == other["prompt"] + other["completion"]
    assert (other["tokens"], other["trained"]) == (len(same + longer), False)
    assert (info["requests"], info["conversations"]) == (4, 2)
    assert one.rollout.tokens == len(same + mine)
    assert "history_changed" not in info


def test_nothing_is_learnt_from_an_untrained_reply_within_a_conversation(renderer):
    def plays(sample, endpoint):
        model, messages = client(endpoint), list(sample.prompt)
        for train in ("false", "true"):
            said = model.chat.completions.create(
                model="any", messages=messages, metadata={"train": train}
            ).choices[0]
            messages += [said.message, QUESTION[0]]

    policy = Policy(renderer, "not this", "this")
    [one] = played(playing(plays), renderer, policy)
    this = policy.reply("this").ids
    assert one.prompt_ids + one.completion_ids == policy.prompts[1] + this
    assert one.mask == [0] * (len(one.mask) - len(this)) + [1] * len(this)
    assert one.logprobs == [-0.5 * flag for flag in one.mask]
    assert one.rollout.info["conversations"] == 1


def test_the_main_conversation_is_empty_where_nothing_is_trained(renderer):
    def plays(sample, endpoint):
        client(endpoint).chat.completions.create(model="any", messages=QUESTION, metadata=UNTRAINED)

    [one] = played(playing(plays), renderer, Policy(renderer, "a"))
    assert (one.rollout.messages, one.completion_ids, one.further) == ((), [], [])
    assert [other["completion"] for other in one.rollout.info["further"]] == ["a<eos>"]
    assert one.rollout.info["conversations"] == 1


@pytest.mark.parametrize("metadata", [{"train": "no"}, {"train": False}, {"player": 1}, "false"])
def test_metadata_that_says_nothing_clear_is_refused(renderer, metadata):
    def asks(sample, endpoint):
        with pytest.raises(openai.BadRequestError) as caught:
            client(endpoint).chat.completions.create(model="m", messages=QUESTION, metadata=metadata)
        return caught.value.body["param"]

    [one] = played(playing(asks), renderer, Policy(renderer, "a"))
    assert one.rollout.info["result"] in ("metadata", "metadata.train")
    assert one.completion_ids == []


class Continuous:
    """An engine that finishes one request at a time, the newest first; what it says depends on the request's seed alone."""

    def __init__(self, renderer, texts):
        self.policy, self.queued = Policy(renderer, *texts), []

    def add(self, key, prompt, sampling):
        self.queued.append((key, sampling.seed))

    def finished(self):
        if not self.queued:
            return []
        key, seed = self.queued.pop()
        return [(key, self.policy.reply(self.policy.texts[seed % len(self.policy.texts)]))]

    def drop(self):
        self.queued.clear()


def test_with_continuous_batching_agents_advance_by_themselves_with_seeds_of_their_own(renderer):
    from tenyson.engines.engine import Sampling
    from tenyson.engines.play.independent import play_independently

    def asks(sample, endpoint):
        model, said = client(endpoint), []
        for turn in range(3):
            time.sleep(0.03 * ((int(sample.id[-1]) + turn) % 3))
            question = [{"role": "user", "content": f"turn {turn}"}]
            answer = model.chat.completions.create(model="any", messages=question)
            said.append(answer.choices[0].message.content)
        return said

    texts = [str(number) for number in range(10)]
    found = []
    for _ in range(2):
        [batch] = play_independently(
            playing(asks),
            samples(6),
            renderer,
            Continuous(renderer, texts),
            Sampling(16, seed=5),
            max_turns=8,
            batch_size=6,
            limits=Limits(step_seconds=20),
        )
        found.append([one.rollout.info["result"] for one in batch])
    assert found[0] == found[1]
    assert len({tuple(said) for said in found[0]}) > 3


def test_plays_leave_no_descriptor_and_no_thread(renderer):
    def descriptors():
        return len(list(Path("/proc/self/fd").iterdir()))

    def asks(sample, endpoint):
        with client(endpoint) as model:
            model.chat.completions.create(model="any", messages=list(sample.prompt))

    def forgets(sample, endpoint):
        model = client(endpoint)
        model.chat.completions.create(model="any", messages=list(sample.prompt))
        raise ValueError(model)

    def play_both():
        for agent in (asks, forgets):
            played(playing(agent), renderer, Policy(renderer, "a"), count=2, limits=Limits(retries=0))

    def ours():
        return sum(thread.name in ("tenyson-agent", "tenyson-endpoint") for thread in threading.enumerate())

    play_both()
    gc.collect()
    before = descriptors()
    for _ in range(3):
        play_both()
    gc.collect()
    assert descriptors() <= before + 2
    assert ours() == 0


def test_a_stream_brings_calls_piece_by_piece(renderer):
    def streams(sample, endpoint):
        pieces = client(endpoint).chat.completions.create(
            model="any", messages=list(sample.prompt), tools=[LOOK], stream=True
        )
        deltas = [piece.choices[0] for piece in pieces]
        called = [call for one in deltas for call in one.delta.tool_calls or ()]
        text = "".join(one.delta.content or "" for one in deltas)
        return [text, called[0].index, called[0].function.name, deltas[-1].finish_reason]

    [one] = played(playing(streams), renderer, Policy(renderer, f"I look.{CALL}"))
    assert one.rollout.info["result"] == ["I look.", 0, "look", "tool_calls"]


def test_a_client_that_lost_its_patience_gets_the_reply_that_it_did_not_wait_for(renderer):
    """The openai package asks again by itself after a time-out: that is no further conversation."""

    def impatient(sample, endpoint):
        model = client(endpoint, timeout=0.7, max_retries=3)
        return (
            model.chat.completions.create(model="any", messages=list(sample.prompt))
            .choices[0]
            .message.content
        )

    policy = Policy(renderer, "slow", "never said")

    def generate(prompts, turn):
        if turn == 0:
            time.sleep(1.5)
        return policy(prompts, turn)

    [one] = played(playing(impatient), renderer, generate)
    assert one.rollout.info["result"] == "slow"
    assert one.rollout.info["conversations"] == 1
    assert len(policy.prompts) == 1


def test_an_agent_that_never_comes_back_is_counted_until_it_does(renderer):
    gone = threading.Event()
    before = ABANDONED.count
    limits = Limits(step_seconds=0.3, retries=0)
    played(playing(lambda *_: gone.wait(20)), renderer, Policy(renderer, "a"), limits=limits)
    assert ABANDONED.count == before + 1
    gone.set()
    until = time.monotonic() + 5
    while ABANDONED.count > before:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_an_agent_that_forks_or_goes_elsewhere_disturbs_nobody(renderer, tmp_path):
    here = os.getcwd()  # noqa: PTH109

    def forks(sample, endpoint):
        os.chdir(tmp_path)
        child = os.fork()
        if child:
            os.waitpid(child, 0)
        return "once"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        [one] = played(playing(forks), renderer, Policy(renderer, "a"))
    assert one.rollout.info["result"] == "once"
    assert os.getcwd() == here  # noqa: PTH109


def test_bad_agents_cost_their_own_rollouts_only(renderer):
    """Some raise, hang, exit, send garbage, or leave while they are answered; the others hear what they would hear alone."""

    def aborts(endpoint):
        url = urlsplit(endpoint.base_url)
        connection = http.client.HTTPConnection(url.netloc)
        body = json.dumps({"model": "m", "messages": QUESTION})
        headers = {"Authorization": f"Bearer {endpoint.api_key}"}
        connection.request("POST", f"{url.path}/chat/completions", body, headers)
        connection.close()

    def garbage(endpoint):
        url = urlsplit(endpoint.base_url)
        with socket.create_connection((url.hostname, url.port)) as connection:
            connection.sendall(b"\x00\xff not http\r\n\r\n" * 100)
            while connection.recv(4096):
                pass

    def agent(sample, endpoint):
        kind = int(sample.id.split("/")[1]) % 6
        if kind == 1:
            raise ValueError("bad luck")
        if kind == 2:
            time.sleep(3)
        if kind == 3:
            sys.exit(1)
        if kind == 4:
            aborts(endpoint)
        if kind == 5:
            garbage(endpoint)
        return looked(sample, endpoint)

    policy = Policy(renderer)

    def generate(prompts, turn):
        return [policy.reply("21 C" if "21 C" in renderer.raw(ids) else f"I look.{CALL}") for ids in prompts]

    limits = Limits(step_seconds=1.5, retries=0)
    found = played(playing(agent), renderer, generate, count=18, limits=limits)
    kinds = {1: "ValueError", 2: "TimeoutError", 3: "SystemExit"}
    for number, one in enumerate(found):
        expected = kinds.get(number % 6)
        assert (one.rollout.error.kind if one.rollout.error else None) == expected
        if expected is None:
            assert one.rollout.info["result"] == "21 C"
            assert renderer.raw(one.completion_ids) == f"I look.{CALL}<eos><user>21 C<model>21 C<eos>"


def test_a_process_that_is_killed_leaves_no_agent_behind(tmp_path):
    told = tmp_path / "told"
    agent = f"import os, subprocess, time; subprocess.Popen(['sleep', '300']); open({str(told)!r}, 'w').write(str(os.getpgid(0))); time.sleep(300)"
    code = (
        "import sys, threading\n"
        "from tenyson.engines.endpoint.agents.command import run_command\n"
        "from tenyson.tasks import AgentCommand, Endpoint, Sample\n"
        f"command = AgentCommand([sys.executable, '-c', {agent!r}])\n"
        "run_command(command, Sample('s', []), Endpoint('http://127.0.0.1:1/v1', 'key'), threading.Event())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    until = time.monotonic() + 30
    while not told.exists() or not told.read_text():
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.05)
    group = int(told.read_text())
    os.killpg(group, 0)
    process.kill()
    process.wait()
    while _alive(group):
        assert time.monotonic() < until
        time.sleep(0.05)


def _alive(group):
    """Whether a process of the group is there that is no zombie: nobody here may wait for it."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its = stat.read_text().rpartition(") ")[2].split()[:3]
        except OSError:
            continue
        if int(its) == group and state != "Z":
            return True
    return False
