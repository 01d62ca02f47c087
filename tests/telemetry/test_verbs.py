"""Control verbs are one table: commands, help, checks and messages are made from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tenyson.cli import control
from tenyson.cli.commands import COMMANDS
from tenyson.core.control import describe
from tenyson.telemetry.control import VERBS, Asked, Controls
from tenyson.telemetry.control.requests import ControlRequest
from tenyson.telemetry.control.verbs import TABLE, ControlVerb

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "telemetry.md"


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_has_a_command_with_help_and_is_documented(name):
    """`tenyson --help` lists it, its own help explains it, and the page on telemetry names it."""
    assert COMMANDS[name].help == TABLE[name].summary
    shown = CliRunner().invoke(getattr(control, name), ["--help"])
    assert shown.exit_code == 0
    assert " ".join(TABLE[name].help.split()) in " ".join(shown.output.split())
    assert f"tenyson {name} RUN" in PAGE.read_text(encoding="utf-8")


def test_a_further_verb_is_an_entry_of_the_table(monkeypatch):
    """The job takes it up, counts what is wanted, refuses what makes no sense, and answers once it is done."""
    monkeypatch.setitem(
        TABLE,
        "evaluate",
        ControlVerb(
            "evaluate",
            summary="Have a run measure its eval split now.",
            help="...",
            effect="measures so many samples after its current step",
            heard="an evaluation of {argument} samples was requested",
            argument="samples",
        ),
    )
    controls = Controls(verbs=["evaluate"])
    assert controls.accept(Asked("evaluate")) == "evaluate needs a number of samples, at least 1"
    assert controls.accept(Asked("evaluate", 8)) is None
    assert controls.accept(Asked("evaluate", 4)) is None
    assert controls.wanted["evaluate"] == 12
    controls.done("evaluate", step=3)
    assert controls.wanted["evaluate"] == 0
    assert [answer.status for answer in controls.answers] == ["rejected", "applied", "applied"]
    request = ControlRequest("r", "evaluate", recorded=True, run_status="running")
    assert describe(request) == "evaluate requested: run r measures so many samples after its current step"
    distilling = Controls(verbs=["stop"], job="a job of kind distill")
    assert distilling.accept(Asked("evaluate", 1)) == "a job of kind distill cannot evaluate"
