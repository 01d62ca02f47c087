"""The plugin manager: by name, lazily, in isolation."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pluggy
import pytest

import tenyson
from tenyson.errors import BrokenPluginError, DuplicatePluginError, UnknownPluginError
from tenyson.plugins.manager import PluginManager

SINK = """
    from tenyson.plugins import SinkEntry, hookimpl

    @hookimpl
    def tenyson_sinks():
        return [SinkEntry(name="{name}", summary="A sink", load="{load}")]
"""


def test_an_installed_plugin_is_used_by_name(hello):
    """A distribution that names its module in the group `tenyson` needs nothing else."""
    plugins = PluginManager()
    cls = plugins.load(plugins.find("task", "hello"))
    assert cls.__name__ == "HelloTask"


def test_entries_carry_distribution_and_version(hello):
    """The manager stamps who registered an entry."""
    provenance = PluginManager().find("task", "hello").provenance
    assert (provenance.distribution, provenance.version) == ("acme-hello", "2.3")


def test_only_the_plugin_asked_for_is_imported(hello):
    """find() imports core and the entry point that bears the name; the others stay on disk."""
    hello.install(
        "acme-other", {"other": "other_plugin"}, {"other_plugin": SINK.format(name="other", load="a:b")}
    )
    PluginManager().find("task", "hello")
    assert "hello_plugin" in sys.modules
    assert "other_plugin" not in sys.modules
    assert "hello_task" not in sys.modules


def test_a_name_that_no_entry_point_bears_is_searched_in_all_plugins(site):
    """An entry point may register entries under other names than its own."""
    site.install(
        "acme-many", {"many": "many_plugin"}, {"many_plugin": SINK.format(name="graphite", load="a:b")}
    )
    assert PluginManager().find("sink", "graphite").provenance.distribution == "acme-many"


def test_builtins_come_first(hello):
    """Core's entries are listed before third parties'."""
    backends = PluginManager().all("backend")
    assert backends[0].name == "local"
    assert backends[0].provenance.distribution == "tenyson-core"


def test_two_providers_of_a_name_are_refused_and_both_are_named(site):
    """Nothing is renamed or preferred in silence."""
    source = SINK.format(name="twin", load="a:b")
    site.install("acme-one", {"twin": "twin_one"}, {"twin_one": source}, version="1.1")
    site.install("acme-two", {"twin": "twin_two"}, {"twin_two": source}, version="2.2")
    with pytest.raises(DuplicatePluginError, match=r"acme-one 1\.1 and acme-two 2\.2"):
        PluginManager().find("sink", "twin")


def test_two_distributions_with_the_same_module_are_still_two(site):
    """Entry points that compare equal belong to different distributions all the same."""
    site.install("acme-one", {"twin": "twin_same"}, {"twin_same": SINK.format(name="twin", load="a:b")})
    site.install("acme-two", {"twin": "twin_same"}, {})
    with pytest.raises(DuplicatePluginError, match=r"acme-one 1\.0 and acme-two 1\.0"):
        PluginManager().find("sink", "twin")


def test_a_core_name_cannot_be_taken_over(site):
    """A plugin named like a built-in is refused, not obeyed."""
    site.install("acme-sql", {"sql": "sql_plugin"}, {"sql_plugin": SINK.format(name="sql", load="a:b")})
    with pytest.raises(DuplicatePluginError, match=r"tenyson-core .* and acme-sql 1\.0"):
        PluginManager().find("sink", "sql")


def test_one_name_may_serve_two_kinds(site):
    """A backend and a sink of one name do not collide."""
    site.install(
        "acme-sink", {"local": "local_plugin"}, {"local_plugin": SINK.format(name="local", load="a:b")}
    )
    plugins = PluginManager()
    assert plugins.find("sink", "local").provenance.distribution == "acme-sink"
    assert plugins.find("backend", "local").provenance.distribution == "tenyson-core"


@pytest.mark.parametrize(
    "source",
    ["import no_such_package", "raise RuntimeError('boom')", "import sys; sys.exit(3)", "def broken(:"],
    ids=["missing-import", "raises", "exits", "syntax"],
)
def test_a_broken_plugin_stops_nothing_that_does_not_need_it(hello, source):
    """Other plugins are found and listed as if it were not there."""
    hello.install("acme-broken", {"broken": "broken_plugin"}, {"broken_plugin": source})
    plugins = PluginManager()
    assert plugins.find("task", "hello")
    assert "hello" in [entry.name for entry in plugins.all("task")]
    assert [report.distribution for report in plugins.check() if report.status == "broken"] == ["acme-broken"]


def test_a_broken_plugin_that_is_needed_says_why_in_one_line(site):
    """Module, distribution, exception and place, on one line."""
    site.install(
        "acme-broken", {"broken": "broken_plugin"}, {"broken_plugin": "\n\nraise RuntimeError('boom')"}
    )
    with pytest.raises(BrokenPluginError) as caught:
        PluginManager().find("task", "broken")
    message = str(caught.value)
    assert "\n" not in message
    for part in ("acme-broken 1.0", "broken_plugin", "RuntimeError: boom", "broken_plugin.py:3"):
        assert part in message
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_hook_that_returns_something_else_is_broken(site):
    """Entries only: a string is not an entry."""
    source = "from tenyson.plugins import hookimpl\n@hookimpl\ndef tenyson_tasks():\n    return ['hello']\n"
    site.install("acme-wrong", {"wrong": "wrong_plugin"}, {"wrong_plugin": source})
    with pytest.raises(BrokenPluginError, match="returns 'hello' from tenyson_tasks, not a TaskEntry"):
        PluginManager().find("task", "wrong")


def test_a_hook_with_arguments_is_broken(site):
    """Hooks take no arguments."""
    source = "from tenyson.plugins import hookimpl\n@hookimpl\ndef tenyson_tasks(config):\n    return []\n"
    site.install("acme-wrong", {"wrong": "wrong_plugin"}, {"wrong_plugin": source})
    with pytest.raises(BrokenPluginError, match="wrong signature"):
        PluginManager().find("task", "wrong")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("@hookimpl\ndef tenyson_task():\n    return []", "did you mean tenyson_tasks?"),
        ("def tenyson_tasks():\n    return []", "without @hookimpl"),
    ],
    ids=["misspelt", "unmarked"],
)
def test_a_function_that_only_looks_like_a_hook_is_found(site, source, expected):
    """A misspelt hook would otherwise register nothing, in silence."""
    site.install(
        "acme-typo",
        {"typo": "typo_plugin"},
        {"typo_plugin": f"from tenyson.plugins import hookimpl\n{source}\n"},
    )
    reports = [report for report in PluginManager().check() if report.distribution == "acme-typo"]
    assert [report.status for report in reports] == ["broken"]
    assert expected in reports[0].detail
    with pytest.raises(UnknownPluginError) as caught:
        PluginManager().find("task", "typo")
    assert expected in str(caught.value)


def test_an_unknown_name_gets_the_nearest_one(hello):
    """And the list of what is known."""
    with pytest.raises(
        UnknownPluginError, match=r"(?s)no task named 'helo'.*Did you mean 'hello'\?.*Known: .*hello"
    ):
        PluginManager().find("task", "helo")


def test_a_first_party_plugin_that_is_not_installed_gets_its_pip_line(tmp_path):
    """Only the metadata of core is visible to this process."""
    info = Path(str(metadata.distribution("tenyson-core")._path))
    shutil.copytree(info, tmp_path / info.name)
    for package in (pluggy, tenyson):
        folder = Path(package.__file__).parent
        (tmp_path / folder.name).symlink_to(folder)
    code = "from tenyson.plugins.manager import PluginManager; PluginManager().find('backend', 'aws')"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert "UnknownPluginError: there is no backend named 'aws'" in done.stderr
    assert "pip install tenyson-aws" in done.stderr


def test_the_allow_list_keeps_others_out_but_never_core(hello, monkeypatch):
    """TENYSON_PLUGINS names what may be imported."""
    monkeypatch.setenv("TENYSON_PLUGINS", "wordle")
    plugins = PluginManager()
    assert plugins.find("backend", "local")
    with pytest.raises(UnknownPluginError, match="TENYSON_PLUGINS leaves it out"):
        plugins.find("task", "hello")
    assert "hello_plugin" not in sys.modules
    monkeypatch.setenv("TENYSON_PLUGINS", "hello, wordle")
    assert PluginManager().find("task", "hello")


def test_an_entry_that_cannot_be_loaded_names_its_target(site):
    """Loading is lazy, so a wrong target shows on use."""
    site.install(
        "acme-gone", {"gone": "gone_plugin"}, {"gone_plugin": SINK.format(name="gone", load="nowhere:Sink")}
    )
    plugins = PluginManager()
    entry = plugins.find("sink", "gone")
    with pytest.raises(
        BrokenPluginError, match=r"'gone' of acme-gone 1\.0 \(nowhere:Sink\).*No module named 'nowhere'"
    ):
        plugins.load(entry)


def test_a_missing_optional_package_is_unavailable_not_broken(site):
    """The plugin works; only something it needs is not installed."""
    source = SINK.format(name="fancy", load="fancy_sink:Sink")
    sink = """
        from tenyson.errors import MissingDependencyError
        raise MissingDependencyError("fancylib", needed_for="the sink fancy", install="acme-fancy[lib]")
    """
    site.install("acme-fancy", {"fancy": "fancy_plugin"}, {"fancy_plugin": source, "fancy_sink": sink})
    report = next(report for report in PluginManager().check() if report.name == "fancy")
    assert report.status == "unavailable"
    assert "pip install 'acme-fancy[lib]'" in report.detail


def test_every_hook_is_documented_and_registered_by_somebody():
    """A hook without a docstring, or that the manager does not read, is a mistake of ours."""
    from tenyson.plugins import hookspecs
    from tenyson.plugins.registration import HOOKS

    specified = {name: value for name, value in vars(hookspecs).items() if name.startswith("tenyson_")}
    assert set(specified) == set(HOOKS)
    assert all(value.__doc__ for value in specified.values())
    assert [report.detail for report in PluginManager().check() if report.status == "broken"] == []
