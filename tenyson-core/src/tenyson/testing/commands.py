"""The contract of a command that a plugin adds to `tenyson`, as tests to subclass (needs pytest).

class TestMine(CommandContract):
    load = "acme_parity.command:stats"
"""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import ClassVar

import click
import pytest
from click.testing import CliRunner

HEAVY = ("torch", "transformers", "trl", "peft", "vllm", "datasets", "boto3", "modal", "wandb")


class CommandContract:
    """Subclass it as `Test...` and set `load`, the value of the entry point."""

    load: ClassVar[str]

    @pytest.fixture
    def command(self) -> click.Command:
        """The command."""
        module, _, attribute = self.load.partition(":")
        found: click.Command = getattr(importlib.import_module(module), attribute)
        return found

    def test_it_is_a_click_command(self, command: click.Command) -> None:
        """Anything else cannot be run."""
        assert isinstance(command, click.Command)

    def test_its_help_says_what_it_does(self, command: click.Command) -> None:
        """At 80 columns, and without doing it."""
        told = CliRunner().invoke(command, ["--help"], terminal_width=80)
        assert told.exit_code == 0, told.output
        assert command.get_short_help_str(), "the command has no docstring, which is its help"
        assert all(len(line) <= 80 for line in told.output.splitlines())

    def test_an_unknown_option_is_the_users_mistake(self, command: click.Command) -> None:
        """Exit status 2 and no stack trace."""
        told = CliRunner().invoke(command, ["--no-such-option-of-this-command"])
        assert told.exit_code == 2, told.output

    def test_it_imports_nothing_heavy_before_it_runs(self) -> None:
        """Help, completion and `tenyson plugins --check` import it."""
        module = self.load.partition(":")[0]
        code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
        told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert told.stdout.strip() == "[]", told.stdout + told.stderr
