"""The command line as a whole: help, errors, exit statuses, completion, and what starting it costs."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tenyson.plugins.job_kinds import JOB_KINDS

TENYSON = str(Path(sys.executable).parent / "tenyson")
HEAVY = {"torch", "transformers", "pydantic", "sqlalchemy", "boto3", "modal", "vllm", "trl", "wandb", "numpy"}


def tenyson(*arguments, **environment):
    return subprocess.run(
        [TENYSON, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def complete(words, index):
    done = tenyson(_TENYSON_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(index))
    return [line.split(",", 1)[1] for line in done.stdout.split()]


def test_help_lists_every_command_and_the_exit_statuses():
    """Each with one line."""
    text = tenyson("--help").stdout
    for command in ("run", "runs", "show", "stop", "presets", "config", "plugins", "completion"):
        assert f"\n  {command} " in text
    assert "Exit statuses:" in text
    assert "130  interrupted" in text


@pytest.mark.parametrize(
    "command", ["run", "runs", "show", "stop", "presets", "config", "plugins", "completion", "config check"]
)
def test_every_command_has_help(command):
    """What the table names can be imported."""
    done = tenyson(*command.split(), "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: tenyson {command}")


def test_the_version():
    """Of the package."""
    from tenyson import __version__

    assert tenyson("--version").stdout == f"tenyson, version {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rum"], "No such command 'rum'. Did you mean 'run'?"),
        (["--nonsense"], "No such option"),
        (["config", "check"], "Missing argument 'FILE'"),
        (["config", "check", "x", "--job", "ppo"], f"'ppo' is not one of {', '.join(map(repr, JOB_KINDS))}"),
        (["config", "show", "/no/such/file.yaml"], "error: /no/such/file.yaml: no such file"),
        (["presets", "/no/such/task.py"], "error: there is no file /no/such/task.py"),
        (["run", "--task", "wordel"], "Did you mean 'wordle'?"),
        (["run", "wordle"], "tenyson run --task wordle"),
        (["run", "docs/examples/reverse_task.py"], "tenyson run --task docs/examples/reverse_task.py"),
        (["run", "docs/examples/reverse.yaml"], "tenyson run --job sft --config docs/examples/reverse.yaml"),
        (["run", "--task", "wordle", "--run-id", "a b"], "--run-id: 'a b' cannot be the name"),
        (["run", "--task", "wordle", "--only", ""], "'--only': it is empty"),
        (["run", "--task", "wordle", "--run-id", " "], "'--run-id': it is empty"),
        (["config", "check", ""], "'FILE': it is empty"),
    ],
)
def test_the_users_mistake_is_exit_status_2_without_a_stack_trace(arguments, expected):
    """One clear line, on stderr."""
    done = tenyson(*arguments)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_tenyson_debug_shows_the_stack_trace():
    """For whoever reports a bug."""
    done = tenyson("config", "show", "/no/such/file.yaml", TENYSON_DEBUG="1")
    assert "Traceback" in done.stderr
    assert done.returncode == 2


def test_output_into_a_closed_pipe_is_no_error():
    """`tenyson config schema | head -c 1`."""
    shell = f"{TENYSON} config schema | head -c 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert done.stdout == "{0\n"


@pytest.mark.parametrize("arguments", [["--help"], ["plugins"], ["--version"], ["completion", "bash"]])
def test_starting_imports_nothing_heavy(arguments):
    """The laptop that controls has no torch, and waits for nothing."""
    code = (
        "import sys\nfrom tenyson.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit:\n    pass\n"
        "print('\\n' + ' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    modules = done.stdout.splitlines()[-1].split()
    assert "tenyson.cli.main" in modules
    assert HEAVY.isdisjoint(modules)


@pytest.mark.parametrize(("arguments", "budget"), [(["--help"], 0.100), (["plugins"], 0.200)])
def test_starting_stays_in_its_cpu_budget(arguments, budget):
    """Seconds of CPU, user and system; the least of several runs, since other work disturbs.

    On a machine where an empty Python takes 15 ms; where it takes more at the moment, so does all else.
    """

    def cost(*command):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    costs = []
    for _ in range(25):
        costs.append((cost(TENYSON, *arguments), cost(sys.executable, "-c", "pass")))
        ours, empty = (min(column) for column in zip(*costs, strict=True))
        if ours < budget * max(1.0, empty / 0.015):
            return
    pytest.fail(f"{ours:.3f} s of CPU, where an empty Python takes {empty:.3f} s")


def test_completion_scripts():
    """For the three shells, speaking of the right variable."""
    for shell in ("bash", "zsh", "fish"):
        done = tenyson("completion", shell)
        assert done.returncode == 0
        assert "_TENYSON_COMPLETE" in done.stdout
        assert done.stderr == ""


def test_the_bash_script_completes():
    """In a real bash."""
    script = (
        f'PATH={Path(TENYSON).parent}:$PATH; eval "$(tenyson completion bash)"; '
        "COMP_WORDS=(tenyson run --backend loc); COMP_CWORD=3; _tenyson_completion tenyson; echo ${COMPREPLY[@]}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert done.stdout == "local\n", done.stderr


@pytest.mark.slow
def test_completion_of_commands_options_and_names():
    """Names of plugins are asked for when the shell asks."""
    assert set(complete("tenyson p", 1)) == {"pipelines", "pause", "presets", "plugins", "push"}
    assert "--version" in complete("tenyson --", 1)
    assert "check" in complete("tenyson config ", 2)
    assert complete("tenyson run --task wor", 3) == ["wordle"]
    assert complete("tenyson presets wor", 2) == ["wordle"]
    assert complete("tenyson config check x --job ", 5) == list(JOB_KINDS)
