"""`tenyson plugins`, `tenyson presets`, and sub-commands that plugins add, through the real executable."""

from __future__ import annotations

import json

import pytest


def test_plugins_lists_kind_name_distribution_and_version(hello):
    """One row for each entry."""
    done = hello.tenyson("plugins")
    assert done.returncode == 0
    row = next(line.split() for line in done.stdout.splitlines() if "acme-hello" in line)
    assert row[:2] == ["task", "hello"]
    assert row[-2:] == ["acme-hello", "2.3"]


def test_plugins_json_is_the_same_list(hello):
    """For scripts."""
    entries = json.loads(hello.tenyson("plugins", "--json").stdout)["entries"]
    assert {
        "kind": "task",
        "name": "hello",
        "summary": "Say hello",
        "distribution": "acme-hello",
        "version": "2.3",
    } in entries


@pytest.mark.slow
def test_check_exits_with_1_if_something_is_broken(hello):
    """And lists what is fine beside it."""
    hello.install("acme-broken", {"broken": "broken_plugin"}, {"broken_plugin": "raise RuntimeError('boom')"})
    done = hello.tenyson("plugins", "--check")
    assert done.returncode == 1
    assert "RuntimeError: boom" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    reports = json.loads(hello.tenyson("plugins", "--check", "--json").stdout)
    assert {report["name"] for report in reports if report["status"] == "ok"} >= {"local", "hello"}


def test_the_listing_warns_of_a_broken_plugin_and_shows_the_rest(hello):
    """Listing is no check: it succeeds."""
    hello.install("acme-broken", {"broken": "broken_plugin"}, {"broken_plugin": "raise RuntimeError('boom')"})
    done = hello.tenyson("plugins")
    assert done.returncode == 0
    assert "hello" in done.stdout
    assert "warning: the plugin 'broken' of acme-broken 1.0" in done.stderr


def test_presets_shows_steps_needs_and_summary(hello):
    """Of one task by name."""
    done = hello.tenyson("presets", "hello")
    assert done.returncode == 0, done.stderr
    assert "small" in done.stdout
    assert "any machine" in done.stdout
    assert "tenyson run --task hello --preset small" in done.stdout
    (preset,) = json.loads(hello.tenyson("presets", "hello", "--json").stdout)
    assert preset["steps"][0]["config"] == {"model": {"name": "m"}}


def test_presets_of_an_unknown_task_is_the_users_mistake(hello):
    """One error, the nearest name, status 2."""
    done = hello.tenyson("presets", "helo")
    assert done.returncode == 2
    assert "Did you mean 'hello'?" in done.stderr
    assert "Traceback" not in done.stderr


COMMAND = "import click\n@click.command()\ndef greet():\n    click.echo('hello from a plugin')\n"


@pytest.mark.slow
def test_a_plugin_adds_a_command(hello):
    """The group `tenyson.commands`; `tenyson plugins` lists it."""
    hello.install("acme-greet", {}, {"greet_command": COMMAND}, commands={"greet": "greet_command:greet"})
    assert hello.tenyson("greet").stdout == "hello from a plugin\n"
    assert any(
        line.split()[:2] == ["command", "greet"] for line in hello.tenyson("plugins").stdout.splitlines()
    )
    assert hello.tenyson("greet", TENYSON_PLUGINS="wordle").returncode == 2


def test_a_command_that_cannot_be_loaded_is_one_line(hello):
    """And status 2."""
    hello.install(
        "acme-greet", {}, {"greet_command": "import nowhere"}, commands={"greet": "greet_command:greet"}
    )
    done = hello.tenyson("greet")
    assert done.returncode == 2
    assert "the command 'greet' of acme-greet 1.0" in done.stderr
    assert "Traceback" not in done.stderr
    assert hello.tenyson("--help").returncode == 0


@pytest.mark.slow
def test_completion_knows_the_names_of_plugins(hello):
    """Through the protocol that the completion script speaks."""
    words = {"_TENYSON_COMPLETE": "bash_complete", "COMP_WORDS": "tenyson run --task he", "COMP_CWORD": "3"}
    assert "plain,hello" in hello.tenyson(**words).stdout.split()
    words = {
        "_TENYSON_COMPLETE": "bash_complete",
        "COMP_WORDS": "tenyson run --backend lo",
        "COMP_CWORD": "3",
    }
    assert hello.tenyson(**words).stdout.split() == ["plain,local"]
