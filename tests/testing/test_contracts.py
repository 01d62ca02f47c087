"""Tenyson's own plugins keep the contracts that it gives to plugin authors, and broken ones do not."""

import sys

import pytest

from tenyson.cloud.local.backend import LocalBackend
from tenyson.plugins.builtin import tenyson_report_helpers
from tenyson.telemetry.read.store import Store
from tenyson.telemetry.sinks.console import ConsoleSink
from tenyson.telemetry.sinks.jsonl import JsonlSink
from tenyson.telemetry.sinks.sql import SqlSink
from tenyson.testing.backends import TICKING, BackendContract
from tenyson.testing.chat_engines import ChatEngineContract
from tenyson.testing.commands import CommandContract
from tenyson.testing.engines import EngineContract
from tenyson.testing.report_helpers import ReportHelperContract
from tenyson.testing.sinks import SinkContract
from tenyson.testing.tasks import TaskContract
from tenyson_wordle.task import WordleTask


class TestLocalBackend(BackendContract):
    """Processes of this machine."""

    @pytest.fixture
    def backend(self, tmp_path):
        return LocalBackend(tmp_path / "outputs", (sys.executable, *TICKING))


class TestJsonl(SinkContract):
    """The file of events."""

    sink = JsonlSink

    def recorded(self, config, run_dir, printed):
        return (run_dir / "events.jsonl").read_text()


class TestConsole(SinkContract):
    """The lines that a controller reads."""

    sink = ConsoleSink
    kept = ("metrics", "notices")

    def recorded(self, config, run_dir, printed):
        return printed


class TestSql(SinkContract):
    """The database."""

    sink = SqlSink

    @pytest.fixture(autouse=True)
    def _database(self, tmp_path, monkeypatch):
        monkeypatch.setattr(type(self), "settings", {"telemetry": {"db_url": f"sqlite:///{tmp_path}/t.db"}})

    def recorded(self, config, run_dir, printed):
        with Store(config.telemetry.db_url) as store:
            found = store.metrics("contract"), store.rollouts("contract"), store.notices("contract")
        return str(found)


class TestWordle(TaskContract):
    """With its held-out secrets."""

    @pytest.fixture
    def task(self):
        return WordleTask()


@pytest.fixture(scope="module")
def transformers_engine(tmp_path_factory):
    """Opened once for all of its tests."""
    from tenyson.engines.engine import EngineSpec
    from tenyson.engines.transformers import TransformersEngine
    from tenyson.testing.tiny import build

    folder = tmp_path_factory.mktemp("model")
    build(folder, 0)
    engine = TransformersEngine(EngineSpec(model=str(folder)))
    yield engine
    engine.close()


@pytest.mark.train
class TestTransformers(EngineContract):
    """On a tiny model."""

    @pytest.fixture
    def engine(self, transformers_engine):
        return transformers_engine


class TestOpenAI(ChatEngineContract):
    """Against a server on loopback that answers within the limit, and calls the tool that it is offered."""

    @pytest.fixture
    def asked(self):
        from tests.fakes.chat_server import ChatServer, tool_call

        def answer(body):
            words = str(body["messages"][-1]["content"]).split() or ["Well."]
            limit = body["max_completion_tokens"]
            if "tools" in body and body["messages"][-1]["role"] == "user":
                return {"tool_calls": [tool_call("add", {"a": 17, "b": 25}), tool_call("add", "{", "call_b")]}
            return {
                "content": " ".join(words[:limit]),
                "finish_reason": "length" if len(words) > limit else "stop",
            }

        with ChatServer(answer, seconds=0.02) as server:
            yield server

    def open(self, url, **endpoint):
        from tenyson.config.load import parse_config
        from tenyson.engines.chat.openai_engine import OpenAIEngine
        from tenyson.engines.engine import EngineSpec

        given = {"url": url, "concurrency": 4, "retry_seconds": 0.1, "prompt_usd": 1.0, "completion_usd": 2.0}
        config = parse_config({"model": {"name": "tiny"}, "endpoint": {**given, **endpoint}})
        return OpenAIEngine(EngineSpec(model="tiny", endpoint=config.endpoint))

    @pytest.fixture
    def engine(self, asked):
        engine = self.open(asked.url, parameters=["temperature", "seed"])
        yield engine
        engine.close()

    @pytest.fixture
    def broken(self):
        engine = self.open("http://127.0.0.1:9/v1")
        yield engine
        engine.close()

    def test_requests_are_as_many_at_once_as_configured(self, engine, asked):
        """The rest waits here."""
        self.test_many_conversations_are_under_way_at_once(engine)
        assert asked.most_at_once == 4


@pytest.mark.parametrize("entry", tenyson_report_helpers(), ids=lambda entry: entry.name)
class TestHelpersOfCore(ReportHelperContract):
    """Every placeholder of a pipeline's report."""

    @pytest.fixture(autouse=True)
    def _helper(self, entry, monkeypatch):
        import importlib

        module, _, attribute = entry.load.partition(":")
        found = getattr(importlib.import_module(module), attribute)
        monkeypatch.setattr(type(self), "helper", staticmethod(found), raising=False)


class TestCommandOfAPlugin(CommandContract):
    """The sub-commands of tenyson-aws."""

    load = "tenyson_aws.commands:aws"


BROKEN = """
import itertools, pytest
from tenyson.tasks import Reward, Sample, TaskPlugin
from tenyson.testing.tasks import TaskContract

COUNT = itertools.count()


class Task(TaskPlugin):
    def rl_samples(self, split, seed):
        for number in range(3):
            yield Sample(str(next(COUNT)), [{{"role": "user", "content": f"{{number}} {{split if {apart} else ''}}"}}])

    def rewards(self):
        return [Reward("long", lambda rollout: 1 / len(rollout.text))]


class TestBroken(TaskContract):
    @pytest.fixture
    def task(self):
        return Task()
"""


@pytest.mark.slow
def test_a_task_that_breaks_the_contract_is_told_where(tmp_path, pytester_run):
    """Samples of two splits alike, ids that change, a reward that raises."""
    told = pytester_run(tmp_path, BROKEN.format(apart=False))
    for name in (
        "test_a_seed_gives_the_same_samples_again",
        "test_what_is_measured_on_was_not_trained_on",
        "test_rewards_have_names_of_their_own_and_take_any_answer",
    ):
        assert f"FAILED test_it.py::TestBroken::{name}" in told
    assert "rl: train and eval share samples" in told
    assert "test_what_is_measured_on_was_not_trained_on" not in pytester_run(
        tmp_path, BROKEN.format(apart=True)
    )


PREFERENCES = """
import pytest
from tenyson.tasks import PreferenceSample, TaskPlugin
from tenyson.testing.tasks import TaskContract


class Task(TaskPlugin):
    def preference_samples(self, split, seed):
        for number in range(3):
            yield PreferenceSample(
                f"{{split}}{{number}}",
                [{{"role": "user", "content": f"{{split}} {{number}}"}}],
                chosen=[{{"role": "assistant", "content": {chosen!r}}}],
                rejected=[{{"role": "assistant", "content": {rejected!r}}}],
            )


class TestPreferences(TaskContract):
    @pytest.fixture
    def task(self):
        return Task()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chosen", "rejected", "fault"),
    [
        ("better", "worse", None),
        ("same", "same", "train0: both answers are the same"),
        (" ", "worse", "train0: the chosen answer is empty"),
        ("better", "", "train0: the rejected answer is empty"),
    ],
)
def test_a_task_of_preferences_alone_serves_a_job(tmp_path, pytester_run, chosen, rejected, fault):
    """Its pairs must differ and say something."""
    told = pytester_run(tmp_path, PREFERENCES.format(chosen=chosen, rejected=rejected))
    if fault is None:
        assert "FAILED" not in told
        assert " passed" in told
        return
    assert told.count("FAILED") == 1
    assert fault in told


@pytest.fixture
def pytester_run():
    """Runs pytest on a file as a plugin's author would."""
    import subprocess

    def run(folder, text):
        (folder / "test_it.py").write_text(text)
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_it.py"]
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout

    return run


FORGETFUL = """
import pytest
from tenyson.testing.sinks import SinkContract


class Nothing:
    name = "nothing"

    def __init__(self, config, run_dir):
        pass

    def write(self, event):
        pass

    def close(self):
        pass


class TestSilent(SinkContract):
    sink = Nothing


class TestForgetful(SinkContract):
    sink = Nothing

    def recorded(self, config, run_dir, printed):
        return printed
"""


@pytest.mark.slow
def test_a_sink_that_records_nothing_breaks_the_contract(tmp_path, pytester_run):
    """Also where its author does not say how to read what it recorded."""
    told = pytester_run(tmp_path, FORGETFUL)
    assert "FAILED test_it.py::TestForgetful::test_what_a_job_sends_is_recorded" in told
    assert "metrics: '0.8125' was sent and not recorded" in told
    assert "FAILED test_it.py::TestSilent::test_what_a_job_sends_is_recorded" in told
    assert "say in `recorded` how to read what Nothing has recorded" in told


SLOPPY = """
import pytest
from tenyson.engines.engine import Reply
from tenyson.testing.commands import CommandContract
from tenyson.testing.engines import EngineContract
from tenyson.testing.report_helpers import ReportHelperContract


class Same:
    name = "same"

    def generate(self, prompts, sampling):
        return [Reply([7] * sampling.max_new_tokens, "length") for _ in prompts]

    def close(self):
        pass


class TestSame(EngineContract):
    @pytest.fixture
    def engine(self):
        return Same()


class TestGreedyReader(ReportHelperContract):
    helper = staticmethod(lambda context: context.evaluations[0].results["metrics"]["accuracy"]["value"])


class TestNoCommand(CommandContract):
    load = "json:dumps"
"""

MUTE = """
from concurrent.futures import Future

import pytest
from tenyson.engines.chat.chat_engine import ChatReply
from tenyson.engines.renderers.parsed import Parsed
from tenyson.testing.chat_engines import ChatEngineContract


class Mute:
    name = "mute"
    concurrency = 2

    def __init__(self, fails=False):
        self.fails = fails

    def reply(self, messages, tools, sampling):
        future = Future()
        if len(messages) == 1 and messages[0]["content"] == "Say three.":
            return future
        messages.append({"role": "assistant", "content": ""})
        if self.fails:
            future.set_exception(ConnectionError("away"))
        else:
            future.set_result(ChatReply(Parsed("\\ud800"), "eos", completion_tokens=99))
        return future

    def report(self):
        return {"cost": float("nan")}

    def close(self):
        pass


class TestMute(ChatEngineContract):
    seconds = 0.1

    @pytest.fixture
    def engine(self):
        return Mute()

    @pytest.fixture
    def broken(self):
        return Mute(fails=True)
"""


@pytest.mark.slow
def test_a_chat_engine_that_breaks_its_contract_is_told_where(tmp_path, pytester_run):
    """Text that cannot be written, limits that mean nothing, messages that grow, replies that never come, other errors."""
    told = pytester_run(tmp_path, MUTE)
    for name in (
        "test_a_reply_is_whole",
        "test_it_leaves_the_messages_as_they_are",
        "test_a_reply_is_at_most_as_long_as_asked_for",
        "test_many_conversations_are_under_way_at_once",
        "test_it_reports_what_it_was_asked",
        "test_closing_gives_up_what_is_under_way",
        "test_what_fails_is_an_endpoint_error",
    ):
        assert f"FAILED test_it.py::TestMute::{name}" in told, name
    assert "TestMute::test_it_is_a_chat_engine" not in told


@pytest.mark.slow
def test_engines_helpers_and_commands_that_break_their_contracts_are_told_where(tmp_path, pytester_run):
    """An engine without stops and seeds, a helper that wants what is not there, a command that is a function."""
    told = pytester_run(tmp_path, SLOPPY)
    for name in (
        "TestSame::test_a_stop_token_ends_a_reply_and_is_part_of_it",
        "TestSame::test_a_seed_draws_the_same_tokens_again",
        "TestGreedyReader::test_an_empty_pipeline_has_a_report",
        "TestGreedyReader::test_a_finished_pipeline_gives_markdown_without_a_heading",
        "TestNoCommand::test_it_is_a_click_command",
    ):
        assert f"FAILED test_it.py::{name}" in told, name
