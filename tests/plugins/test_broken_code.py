"""Code of plugins that is wrong or raises: named with its distribution, kept to itself, exit status 2, no stack trace."""

from __future__ import annotations

import json
from concurrent.futures import Future

import pytest

from tenyson.engines.choose import is_chat_engine, open_chat_engine, open_engine
from tenyson.engines.engine import EngineSpec, Sampling
from tenyson.errors import BrokenPluginError, EngineError, TelemetryError

ODD = """
    import click
    from tenyson.plugins import BackendEntry, EngineEntry, ReportHelperEntry, SinkEntry, TaskEntry, hookimpl
    from tenyson.tasks import TaskPlugin

    class NoTask: pass
    class NoBackend: pass
    class Raises(TaskPlugin):
        @classmethod
        def presets(cls):
            return {"first": cls.missing}
    class NoPresets(TaskPlugin):
        @classmethod
        def presets(cls):
            return ["small"]

    @hookimpl
    def tenyson_tasks():
        return [TaskEntry(name=name, summary="x", load=f"odd:{cls}")
                for name, cls in (("notask", "NoTask"), ("raises", "Raises"), ("nopresets", "NoPresets"))]

    @hookimpl
    def tenyson_backends():
        return [BackendEntry(name="nobackend", summary="x", load="odd:NoBackend")]

    @hookimpl
    def tenyson_report_helpers():
        return [ReportHelperEntry(name=name, summary="x", load=f"odd:{load}")
                for name, load in (("nohelper", "number"), ("divides", "divides"), ("silent", "silent"))]

    def divides(context):
        return str(1 / len(context.title[:0]))
    def silent(context):
        return None

    @hookimpl
    def tenyson_sinks():
        return [SinkEntry(name=name, summary="x", load=f"odd:{name}") for name in ("exits", "nameless")]

    @hookimpl
    def tenyson_engines():
        return [EngineEntry(name=name, summary="x", load=f"odd:{name}") for name in ("stalls", "mumbles", "chats")]

    number = 3

    def exits(config, run_dir):
        raise SystemExit(7)
    class nameless:
        def __init__(self, config, run_dir): pass
        def write(self, event): pass
        def close(self): pass
    class stalls:
        def __init__(self, spec): self.weights = spec.args["weights"]
        def generate(self, prompts, sampling): pass
        def close(self): pass
    class chats:
        concurrency = 2
        def __init__(self, spec): self.answer = spec.args["answer"]
        def reply(self, messages, tools, sampling): return self.answer(messages)
        def report(self): return {}
        def close(self): pass
    class mumbles:
        def __init__(self, spec): self.answer = spec.args["answer"]
        def generate(self, prompts, sampling): return self.answer(prompts)
        def close(self): pass

    @click.group()
    def tool(): pass
    @tool.command()
    @click.option("--leave", is_flag=True)
    def divide(leave):
        if leave:
            raise SystemExit(5)
        1 / 0
    command = 3
"""


@pytest.fixture
def odd(site):
    commands = {"tool": "odd:tool", "number": "odd:command", "gone": "odd_gone:x", "runs": "odd:tool"}
    site.install("acme-odd", {"odd": "odd"}, {"odd": ODD}, version="1.2", commands=commands)
    return site


def test_check_loads_commands_too_and_knows_what_each_kind_must_be(odd):
    """A command that shadows one of Tenyson's own is never run."""
    done = odd.tenyson("plugins", "--check", "--json")
    assert done.returncode == 1, done.stderr
    broken = {
        (one["kind"], one["name"]): one["detail"]
        for one in json.loads(done.stdout)
        if one["status"] == "broken"
    }
    for entry, words in {
        ("task", "notask"): "the task 'notask' of acme-odd 1.2 is no TaskPlugin subclass",
        ("backend", "nobackend"): "the class NoBackend lacks validate, estimate, submit",
        ("report_helper", "nohelper"): "is 3, which cannot be called",
        ("command", "number"): "is no click command: 3",
        ("command", "gone"): "No module named 'odd_gone'",
        ("command", "runs"): "`tenyson runs` is Tenyson's own",
    }.items():
        assert words in broken.pop(entry)
    assert broken == {}


@pytest.mark.slow
def test_presets_warns_of_tasks_that_are_none_and_lists_the_others(odd):
    """Of one task by name, the same words are the error."""
    done = odd.tenyson("presets")
    assert done.returncode == 0
    assert "wordle" in done.stdout
    assert "is no TaskPlugin subclass" in done.stderr
    assert "presets() of the task Raises raises: AttributeError" in done.stderr
    assert "odd.py:" in done.stderr
    assert "presets() of the task NoPresets returned a list: ['small']" in done.stderr
    named = odd.tenyson("presets", "raises")
    assert (named.returncode, named.stderr.count("error:"), "Traceback" in named.stderr) == (2, 1, False)


@pytest.mark.slow
def test_a_command_that_raises_is_named(odd):
    """Also one in a group; where it leaves by itself, its exit status stands."""
    for arguments, words in ((["tool", "divide"], "ZeroDivisionError"), (["number"], "no click command")):
        done = odd.tenyson(*arguments)
        assert done.returncode == 2
        assert "of acme-odd 1.2" in done.stderr
        assert words in done.stderr
        assert "Traceback" not in done.stderr
    assert odd.tenyson("tool", "divide", "--leave").returncode == 5
    assert odd.tenyson("tool", "nothing").returncode == 2


def test_a_sink_that_cannot_start_is_named_before_the_job_begins(odd, tmp_path):
    """Not even one that calls sys.exit ends the job in silence."""
    from tenyson.config.load import parse_config
    from tenyson.telemetry.build import open_telemetry

    for name, words in (
        ("exits", "the sink exits cannot start: SystemExit: 7"),
        ("nameless", "it has no name"),
    ):
        config = parse_config({"model": {"name": "m"}, "telemetry": {"sinks": [name]}})
        with pytest.raises(TelemetryError, match=words):
            open_telemetry(config, tmp_path)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda prompts: prompts[0].nothing, "raises: AttributeError"),
        (lambda prompts: [], "returned 0 replies for 2 prompts"),
        (lambda prompts: None, "returned a NoneType for 2 prompts"),
        (lambda prompts: ["a", "b"], "a str, which is no Reply"),
        (lambda prompts: [reply(["a"])] * 2, "no list of token ids"),
        (lambda prompts: [reply([1], "eos")] * 2, "neither stop nor length"),
        (lambda prompts: [reply([1, 2], logprobs=[0.0])] * 2, "1 logprobs for 2 ids"),
    ],
)
def test_an_engine_that_breaks_or_returns_no_replies_is_named(odd, answer, words):
    """Instead of a stack trace of what took its replies."""
    engine = open_engine("mumbles", EngineSpec("m", args={"answer": answer}))
    with pytest.raises(BrokenPluginError, match=f"the engine 'mumbles' of acme-odd 1.2.*{words}"):
        engine.generate([[1], [2]], Sampling(4))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda messages: messages.nothing, "raises: AttributeError"),
        (lambda messages: "hello", "returned a str for a reply, which is no Future"),
        (lambda messages: ended("hello"), "answered with a str, which is no ChatReply"),
        (lambda messages: ended(error=KeyError("x")), "raises: KeyError"),
    ],
)
def test_a_chat_engine_that_breaks_is_named(odd, answer, words):
    engine = open_chat_engine("chats", EngineSpec("m", args={"answer": answer}))
    with pytest.raises(BrokenPluginError, match=f"the engine 'chats' of acme-odd 1.2.*{words}"):
        engine.reply([], (), Sampling(4)).result(5)


def test_a_chat_engine_is_refused_where_token_ids_are_needed(odd):
    assert is_chat_engine("chats")
    with pytest.raises(EngineError, match="the engine chats takes messages, not token ids"):
        open_engine("chats", EngineSpec("m"))


def test_an_engine_that_cannot_start_is_named(odd):
    """With the line of its own code."""
    with pytest.raises(
        BrokenPluginError, match=r"the engine 'stalls' of acme-odd 1.2 cannot start: KeyError: 'weights' \("
    ):
        open_engine("stalls", EngineSpec("m"))


def test_report_helpers_that_break_are_entries_of_the_report(odd, tmp_path):
    """The other sections are written; a helper that nobody provides is told where a template names it."""
    from tests.reporting.conftest import JobFolders

    from tenyson.errors import UnknownPluginError
    from tenyson.reporting.pipeline import write_report
    from tenyson.tasks import Metric, TaskPlugin

    class Task(TaskPlugin):
        report_helpers = ("divides", "silent", "nohelper", "stages")

    stages = [JobFolders(tmp_path).job("before", "eval", [], {"won": Metric.proportion(3, 9)})]
    (tmp_path / "before" / "events.jsonl").touch()
    text = write_report("Odd", stages, tmp_path / "report", Task()).read_text()
    for name, cause in {
        "divides": r"it raises ZeroDivisionError: division by zero (",
        "silent": "what it returned is None, not text",
        "nohelper": "the report helper 'nohelper' of acme-odd 1.2 is 3, which cannot be called",
    }.items():
        assert f"**The section `{name}` could not be written**: {cause}" in text
    assert "33" in text
    with pytest.raises(UnknownPluginError, match="'stagess'"):
        write_report("Odd", stages, tmp_path / "report", template="{title}{stagess}")


def reply(ids, finish_reason="stop", logprobs=None):
    from tenyson.engines.engine import Reply

    return Reply(ids, finish_reason, logprobs)


def ended(value=None, error=None):
    future = Future()
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)
    return future
