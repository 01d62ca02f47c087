"""EvalJob asks a model behind a URL: the same rollouts, records and metrics, and no model here."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.fakes.chat_server import ChatServer, tool_call

from tenyson.errors import ConfigError, EndpointError, TenysonError
from tenyson.jobs.eval import EvalJob
from tenyson.jobs.rl import RLJob
from tenyson.jobs.runtime.finding import PreflightError
from tenyson.jobs.sft import SFTJob
from tenyson.tasks import Environment, Observation, Reward, Sample, TaskPlugin
from tenyson.tasks.load import load_task
from tenyson.telemetry.control import StopSignal

TASKS = Path(__file__).parents[1] / "tasks"
KEY = "sk-canary-0123456789abcdefghijklmn"
LETTERS = "abcdefgh"


@pytest.fixture
def server():
    with ChatServer() as one:
        yield one


@pytest.fixture
def asking(configure, server):
    """A configuration that asks the server."""

    def make(run_id: str = "asked", *, endpoint=None, generation=None, **sections):
        return configure(
            run_id,
            model={"name": "tiny"},
            endpoint={"url": server.url, "retry_seconds": 2, **(endpoint or {})},
            generation={"engine": "openai", "max_new_tokens": 20, **(generation or {})},
            **sections,
        )

    return make


def metadata_of(result) -> dict:
    return json.loads((Path(result.local_output_dir) / "results.json").read_text())["metadata"]


@pytest.mark.slow
def test_a_single_turn_is_asked_recorded_and_measured(asking, server, echo, events):
    server.answer = lambda body: body["messages"][-1]["content"] * 3
    prices = {"prompt_usd": 1.0, "completion_usd": 2.0}
    result = EvalJob(asking(endpoint=prices, evaluation={"samples": 10}), echo).run()
    assert result.status == "success"
    assert result.metrics["accuracy"] == 1.0
    played = events("asked", "RolloutFinished")
    assert len(played) == 10
    letter = server.requests[1]["messages"][0]["content"]
    first = next(one for one in played if one["prompt"].endswith(letter))
    assert first["prompt"] == f"[user]\n{letter}"
    assert first["completion"] == f"[assistant]\n{letter * 3}"
    assert first["tokens"] == 1
    assert first["info"]["endpoint"] == {"prompt_tokens": 1, "cost_usd": pytest.approx(3e-6)}
    found = metadata_of(result)
    assert found["engine"] == "openai"
    asked = found["endpoint"]
    assert (asked["model"], asked["versions"], asked["url"]) == ("tiny", ["tiny-2026-11-01"], server.url)
    # Ten, and the probe before them.
    assert (asked["requests"], asked["answers"], asked["completion_tokens"]) == (11, 11, 14)
    assert asked["cost_usd"] == pytest.approx((12 * 1 + 14 * 2) / 1e6)


def test_what_is_configured_is_what_is_sent(asking, server, echo):
    given = {"temperature": 0.5, "top_p": 0.9, "top_k": 5}
    endpoint = {"parameters": ["temperature", "top_p", "top_k"], "limit_parameter": "max_tokens"}
    config = asking(
        generation=given,
        endpoint=endpoint,
        engine_args={"reasoning_effort": "low"},
        evaluation={"samples": 1},
    )
    EvalJob(config, echo).run()
    sent = server.requests[-1]
    del sent["messages"]
    assert sent == {"model": "tiny", "max_tokens": 20, "reasoning_effort": "low", **given}


@pytest.mark.slow
def test_seeds_are_of_rollout_and_turn_alone(asking, server, climb):
    """Whatever the order in which answers come."""
    for run_id, seconds in (("one", 0.0), ("two", 0.01)):
        server.requests.clear()
        server.seconds = seconds
        EvalJob(asking(run_id, evaluation={"samples": 6, "samples_per_prompt": 2}), climb).run()
        sent = sorted((one["seed"], json.dumps(one["messages"])) for one in server.requests[1:])
        assert len({seed for seed, _ in sent}) == len(sent) == 36
        if run_id == "one":
            first = sent
    assert sent == first


def test_turns_of_an_environment_are_played(asking, server, climb, events):
    server.answer = lambda body: LETTERS[LETTERS.index(body["messages"][-1]["content"][0]) + 1]
    server.answer = lambda body, answer=server.answer: "OK" if "Say" in str(body) else answer(body)
    result = EvalJob(asking(evaluation={"samples": 8}), climb).run()
    assert result.metrics["right"] == 1.0
    one = events("asked", "RolloutFinished")[0]
    assert [line for line in one["completion"].splitlines() if line.startswith("[")] == [
        "[assistant]",
        "[user]",
        "[assistant]",
        "[user]",
        "[assistant]",
    ]
    assert one["tokens"] == 3
    roles = [message["role"] for message in server.requests[-1]["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user"]


@pytest.mark.slow
def test_tools_are_offered_called_and_answered(asking, server, events):
    """By id; a call that cannot be read is told to the model, as with a model of our own."""

    def answer(body):
        messages = body["messages"]
        if not body.get("tools"):
            return "OK"
        if messages[-1]["role"] == "tool":
            return messages[-1]["content"]
        if messages[-1]["content"] in "ab":
            return {"tool_calls": [tool_call("secret", {"letter": messages[-1]["content"]}, "c7")]}
        if messages[-1]["content"] == "c":
            return {"tool_calls": [tool_call("secret", "{letter:")]}
        return "I do not know"

    server.answer = answer
    result = EvalJob(asking(evaluation={"samples": 4}), load_task(str(TASKS / "tool_task.py"), {})).run()
    by_letter = {one["prompt"][-1]: one for one in events("asked", "RolloutFinished")}
    assert [by_letter[letter]["components"]["right"] for letter in "abcd"] == [1.0, 1.0, 0.0, 0.0]
    assert '"name": "secret"' in by_letter["a"]["prompt"]
    assert (
        '[call of secret]\n{"letter": "a"}\n\n[tool secret]\n7\n\n[assistant]\n7'
        in by_letter["a"]["completion"]
    )
    assert by_letter["c"]["info"]["tool_calls_refused"] == 1
    assert "cannot be read" in by_letter["c"]["completion"]
    follow_up = next(one for one in server.requests if one["messages"][-1]["role"] == "tool")
    assert (
        follow_up["messages"][-2]["tool_calls"][0]["id"] == follow_up["messages"][-1]["tool_call_id"] == "c7"
    )
    assert result.metrics["right"] == 0.5


def test_a_cut_reply_and_a_full_context_are_data(asking, server, events):
    class Talk(Environment):
        def step(self, reply: str) -> Observation:
            return Observation("go on")

    class Talking(TaskPlugin):
        name = "talking"

        def eval_samples(self, split, seed):
            yield Sample(id="one", prompt=[{"role": "user", "content": "go"}])

        def environment(self, sample):
            return Talk()

        def rewards(self):
            return [Reward("turns", lambda rollout: float(len(rollout.replies)))]

    def answer(body):
        if len(body["messages"]) == 1:
            return {"content": "cut", "finish_reason": "length"}
        raise server.Refusal(
            400, "This model's maximum context length is 10 tokens.", "context_length_exceeded"
        )

    server.answer = answer
    result = EvalJob(asking(), Talking()).run()
    [one] = events("asked", "RolloutFinished")
    assert (one["finish_reason"], one["reward"], one.get("errors")) == ("length", 1.0, None)
    assert result.status == "success"


def test_a_lost_endpoint_costs_its_rollout_and_is_never_a_zero(asking, server, echo, events):
    """Requests are repeated; where that does not help, the rollout has an error and no reward."""
    server.answer = lambda body: body["messages"][-1]["content"] * 3
    lost = []

    def answer(body):
        text = str(body["messages"][-1]["content"])
        if text == lost[0]:
            raise server.Refusal(503, "Try later.")
        return text * 3

    lost.append(next(iter(echo.eval_samples("eval", 0))).prompt[0]["content"])
    server.answer = answer
    config = asking(endpoint={"retry_seconds": 1}, evaluation={"samples": 12}, rollouts={"max_failed": 0.9})
    result = EvalJob(config, echo).run()
    played = events("asked", "RolloutFinished")
    broken = [one for one in played if one["finish_reason"] == "error"]
    assert broken
    assert all(one["prompt"] == f"[user]\n{lost[0]}" and one["reward"] is None for one in broken)
    [error] = broken[0]["errors"]
    assert (error["source"], error["kind"]) == ("endpoint", "EndpointError (server)")
    assert "Try later." in error["message"]
    assert result.metrics["accuracy"] == 1.0
    found = metadata_of(result)
    assert found["failed_rollouts"] == len(broken)
    assert found["endpoint"]["retries"] >= len(broken)


def test_what_passes_is_repeated_and_counted(asking, server, echo):
    server.faults.extend(["ok", "429 0.2", "503", "drop", "garbage"])
    result = EvalJob(asking(evaluation={"samples": 8}), echo).run()
    asked = metadata_of(result)["endpoint"]
    assert (asked["answers"], asked["retries"], asked["rate_limited"]) == (9, 4, 1)


def test_conversations_run_at_once_as_configured(asking, server, climb):
    server.seconds = 0.05
    EvalJob(asking(endpoint={"concurrency": 5}, evaluation={"samples": 16}), climb).run()
    assert 3 <= server.most_at_once <= 5


def test_a_slow_tool_does_not_hold_up_other_conversations(asking, server, events):
    """Nor do requests count for rollouts.concurrency."""
    server.seconds = 0.2

    class Slow(Environment):
        def __init__(self, index: int) -> None:
            self.index, self.turns = index, 0

        async def step(self, reply: str) -> Observation:
            self.turns += 1
            return Observation("on", done=self.turns == 2)

    class Task(TaskPlugin):
        name = "slow"

        def eval_samples(self, split, seed):
            return [Sample(id=str(i), prompt=[{"role": "user", "content": "go"}]) for i in range(16)]

        def environment(self, sample):
            return Slow(int(sample.id))

        def rewards(self):
            return [Reward("none", lambda rollout: 0.0)]

    EvalJob(asking(rollouts={"concurrency": 1}), Task()).run()
    assert server.most_at_once > 8


def test_the_budget_ends_it_with_what_was_measured(asking, server, echo):
    server.answer = lambda body: {
        "content": "x",
        "usage": {"prompt_tokens": 1_000_000, "completion_tokens": 0},
    }
    endpoint = {"prompt_usd": 1.0, "completion_usd": 0.0, "budget_usd": 6.5, "concurrency": 1}
    job = EvalJob(asking(endpoint=endpoint, evaluation={"batch_size": 2}), echo)
    with pytest.raises(EndpointError, match=r"cost 7\.0000 US dollars, and endpoint\.budget_usd is 6\.5"):
        job.run()
    results = json.loads(Path(job.config.run.output_dir, "asked", "results.json").read_text())
    assert results["metadata"]["partial"] is True
    assert results["metadata"]["rollouts"] == 6
    assert len(server.requests) == 7


def test_a_stop_keeps_whole_batches_and_gives_the_others_up(asking, server, echo):
    """Requests under way are dropped, and no further one is sent."""
    stop = StopSignal()

    def answer(body):
        if len(server.requests) == 12:
            stop.set("manual stop")
        time.sleep(0.02)
        return "x"

    server.answer = answer
    config = asking(endpoint={"concurrency": 3}, evaluation={"samples": 40, "batch_size": 5})
    result = EvalJob(config, echo).run(stop)
    assert result.stop_reason == "manual stop"
    assert metadata_of(result)["rollouts"] in (5, 10)
    assert len(server.requests) < 20


@pytest.mark.slow
@pytest.mark.parametrize("answered", [0, 1])
def test_a_stop_does_not_wait_for_an_endpoint_that_hangs(asking, server, echo, answered):
    """Neither before the first rollout nor later."""
    stop = StopSignal()
    server.faults.extend([*["ok"] * answered, *["hang"] * 20])
    job = EvalJob(asking(endpoint={"seconds": 60}, evaluation={"samples": 4}), echo)

    def end() -> None:
        while len(server.requests) <= answered:
            time.sleep(0.02)
        stop.set("manual stop")

    threading.Thread(target=end, daemon=True).start()
    begun = time.monotonic()
    if answered:
        assert job.run(stop).stop_reason == "manual stop"
    else:
        with pytest.raises(TenysonError, match="stopped by hand before its first step"):
            job.run(stop)
    assert time.monotonic() - begun < 15


def test_long_pauses_are_told_and_progress_has_tokens(asking, server, echo, events, monkeypatch):
    monkeypatch.setattr("tenyson.core.chat.client.TOLD_SECONDS", 0.1)
    server.faults.extend(["ok", "429 0.3"])
    EvalJob(asking(evaluation={"samples": 8, "batch_size": 4}), echo).run()
    told = [one["message"] for one in events("asked", "Notice") if "next attempt" in one["message"]]
    assert len(told) == 1
    assert "too many requests or tokens (429: Slow down.)" in told[0]
    last = events("asked", "MetricsLogged")[-1]["values"]
    assert (last["endpoint/answers"], last["endpoint/rate_limited"]) == (9.0, 1.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": {"name": "tinny"}}, "It has tiny."),
        ({"endpoint": {"url": "http://127.0.0.1:9/v1", "retry_seconds": 0}}, "cannot be reached"),
        ({"endpoint": {"api_key_env": "NO_SUCH_KEY"}}, "export NO_SUCH_KEY="),
        ({"engine_args": {"logit_bias": 5}}, "Unsupported parameter: 'logit_bias'"),
    ],
)
def test_what_is_wrong_with_the_endpoint_is_told_before_anything_is_played(
    asking, server, echo, change, said
):
    server.unknown_parameters = ("logit_bias",)
    config = asking()
    for section, values in change.items():
        config[section] = {**config.get(section, {}), **values}
    with pytest.raises(EndpointError) as caught:
        EvalJob(config, echo).run()
    assert said in str(caught.value)
    assert len(server.requests) <= 1


def test_an_endpoint_that_ignores_the_limit_is_found_out(asking, server, echo):
    server.answer = lambda body: " ".join(["word"] * 21)
    with pytest.raises(EndpointError, match="ignores that limit") as caught:
        EvalJob(asking(), echo).run()
    assert "endpoint.limit_parameter: max_tokens" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        ({"generation": {"top_k": 5}}, "generation.top_k", "add top_k to endpoint.parameters"),
        ({"model": {"name": "tiny", "dtype": "float16"}}, "model.dtype", "has no effect"),
        ({"model": {"name": "tiny", "adapter": "a"}}, "model.adapter", "has no effect"),
        ({"model": {"factory": "tenyson.testing.tiny:build"}}, "model.factory", "model.name"),
        ({"endpoint": {"url": None}}, "endpoint.url", "such as http"),
        ({"engine_args": {"temperature": 1}}, "engine_args.temperature", "use generation.temperature"),
    ],
)
def test_what_would_have_no_effect_is_refused_by_name(asking, server, echo, change, key, said):
    config = asking()
    for section, values in change.items():
        config[section] = values if section == "model" else {**config.get(section, {}), **values}
    with pytest.raises(ConfigError) as caught:
        EvalJob(config, echo).run()
    assert [problem.key for problem in caught.value.problems] == [key]
    assert said in str(caught.value)
    assert server.requests == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"url": "http://user:pw@host/v1"}, "leave user"),
        ({"url": "localhost:8000"}, "expected a URL"),
        ({"url": "http://host/v1/chat/completions"}, "leave out /chat/completions"),
        ({"api_key_env": KEY}, "NAME of an environment variable"),
        ({"prompt_usd": 1.0}, "give both"),
        ({"budget_usd": 1.0}, "needs prompt_usd"),
        ({"parameters": ["topk"]}, "expected one of"),
    ],
)
def test_wrong_settings_are_told_without_a_secret(asking, echo, values, said):
    with pytest.raises(ConfigError) as caught:
        EvalJob(asking(endpoint=values), echo)
    assert said in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.train
@pytest.mark.parametrize("job", [SFTJob, RLJob])
def test_trainings_refuse_an_endpoint(asking, echo, job):
    with pytest.raises(ConfigError, match="whose weights cannot be trained from here"):
        job(asking(), echo).run()


def test_a_task_whose_agent_plays_is_refused(asking, server):
    class Agentic(TaskPlugin):
        name = "agentic"

        def eval_samples(self, split, seed):
            yield Sample(id="one", prompt=[{"role": "user", "content": "go"}])

        async def agent(self, sample, endpoint):
            return "done"

        def rewards(self):
            return [Reward("none", lambda rollout: 0.0)]

    with pytest.raises(ConfigError, match="an agent of the task plays its rollouts"):
        EvalJob(asking(), Agentic()).run()


def test_a_task_that_raises_is_found_before_anybody_is_asked(asking, server):
    class Broken(TaskPlugin):
        name = "broken"

        def eval_samples(self, split, seed):
            yield Sample(id="one", prompt=[{"role": "user", "content": "go"}])

        def environment(self, sample):
            raise RuntimeError("no world")

        def rewards(self):
            return [Reward("none", lambda rollout: 0.0)]

    with pytest.raises(PreflightError, match="no world"):
        EvalJob(asking(rollouts={"retries": 0}), Broken()).run()
    assert server.requests == []


def test_the_key_is_nowhere_and_nothing_is_left(asking, server, echo, tmp_path, monkeypatch):
    """Not in the records, where an endpoint repeats it in an answer neither; no thread stays."""
    server.key = KEY
    server.answer = lambda body: f"my key is {KEY}"
    monkeypatch.setenv("EVAL_ACCESS", KEY)
    db = f"sqlite:///{tmp_path}/telemetry.db"
    telemetry = {"sinks": ["jsonl", "sql", "console"], "db_url": db}
    EvalJob(
        asking(endpoint={"api_key_env": "EVAL_ACCESS"}, telemetry=telemetry, evaluation={"samples": 3}), echo
    ).run()
    monkeypatch.setenv("EVAL_ACCESS", KEY + "x")
    server.key = "another-key-0123456789"
    with pytest.raises(EndpointError) as caught:
        EvalJob(asking("refused", endpoint={"api_key_env": "EVAL_ACCESS"}, telemetry=telemetry), echo).run()
    assert KEY not in str(caught.value)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert not [
        one.name
        for one in threading.enumerate()
        if one.name.startswith(("tenyson-chat", "tenyson-world-loop"))
    ]


@pytest.mark.slow
def test_no_training_library_is_imported(asking, tmp_path):
    """An evaluation of an endpoint runs where torch is not installed."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps(asking(evaluation={"samples": 2})))
    code = (
        "import sys, json; from tenyson.jobs.eval import EvalJob; from tenyson.tasks.load import load_task\n"
        f"EvalJob(json.load(open({str(config)!r})), load_task({str(TASKS / 'echo_task.py')!r}, {{}})).run()\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'transformers', 'trl')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
