"""tenyson new: write a task, an experiment, a report's template or a plugin that runs as it is."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenyson.cli.extend.spelling import LONGEST, Spelling, spell
from tenyson.cli.options import with_home

if TYPE_CHECKING:
    from tenyson.plugins.registration import Kind

PLUGINS: Mapping[str, Kind] = {
    "task": "task",
    "backend": "backend",
    "sink": "sink",
    "engine": "engine",
    "report-helper": "report_helper",
    "job": "job",
}
"""What `--kind` takes, one for each hook, and its kind."""
EVERY_KIND = ("pyproject.toml", ".gitignore", ".github/workflows/ci.yml")
"""Templates that all plugins share."""


def _folder(_context: click.Context, _parameter: click.Parameter, value: str) -> Path:
    if not value:
        raise click.BadParameter("the name of the folder is empty")
    return Path(with_home(value))


_name = click.argument("name")
_to = click.option(
    "--to",
    metavar="DIR",
    default=".",
    callback=_folder,
    help="Folder to write into; made if it is missing.  [default: .]",
)


@click.group()
def new() -> None:
    """Write a task, an experiment, a report's template or a plugin to begin with.

    It runs as it is. NAME is made of small letters, digits and hyphens. Nothing is overwritten.
    """


@new.command(short_help="Write a task: one Python file.")
@_name
@_to
def task(name: str, to: Path) -> None:
    """Write NAME_task.py: a task for SFT, RL and evaluation, with a pipeline of a tiny model."""
    from tenyson.cli.extend.writing import read

    spelling = spell(name)
    [file] = _write(read("task/my_thing_task.py"), to, spelling)
    _next(f"tenyson run --task {_typed(file)}")


@new.command(short_help="Write an experiment file, with its task.")
@_name
@_to
def experiment(name: str, to: Path) -> None:
    """Write NAME.yaml: a pipeline of a tiny model, and NAME_task.py unless it is there.

    The pipeline evaluates, trains by SFT and RL, and evaluates again.
    """
    from tenyson.cli.extend.writing import read

    spelling = spell(name)
    wanted = ["experiment/my_thing.yaml", "task/my_thing_task.py"]
    own_task = to / spelling.fill("my_thing_task.py")
    if own_task.is_file():
        wanted.pop()
    file = _write(read(*wanted), to, spelling)[0]
    if len(wanted) == 1:
        click.echo(f"{own_task} already exists, and is the task of {file}", err=True)
    _next(f"tenyson run {_typed(file)}")


@new.command(short_help="Write the template of a pipeline's report.")
@_name
@_to
def report(name: str, to: Path) -> None:
    """Write NAME.md: the template of a pipeline's report, to rearrange."""
    from importlib.resources import files

    spelling = spell(name)
    template = files("tenyson.reporting") / "templates" / "pipeline.md"
    [file] = _write({"my_thing.md": template.read_text(encoding="utf-8")}, to, spelling)
    _next(f"tenyson report latest --template {shlex.quote(str(file))}")


@new.command(short_help="Write a whole distribution for one of the six hooks.")
@_name
@click.option(
    "--kind",
    type=click.Choice(list(PLUGINS)),
    required=True,
    help="What it adds to Tenyson: one of its six hooks.",
)
@_to
def plugin(name: str, kind: str, to: Path) -> None:
    """Write a distribution into a new folder NAME, with tests, settings of ruff and mypy, and CI.

    It adds one task, backend, sink, engine, report helper or kind of job under that name.
    """
    from tenyson import __version__
    from tenyson.cli.extend.unused import require_unused
    from tenyson.cli.extend.writing import TEMPLATES, tree, write_folder
    from tenyson.plugins.job_kind import LONGEST_NAME

    spelling = spell(name, LONGEST_NAME if kind == "job" else LONGEST)
    require_unused(spelling, PLUGINS[kind])
    shared = {
        path: (TEMPLATES / "plugin").joinpath(*path.split("/")).read_text(encoding="utf-8")
        for path in EVERY_KIND
    }
    texts = _filled(shared | tree(f"plugin/{kind}"), spelling)
    needed = f"tenyson-core{'[train]' if kind == 'job' else ''}>={__version__}"
    texts["pyproject.toml"] = texts["pyproject.toml"].replace("TENYSON_REQUIREMENT", needed)
    folder = to / spelling.typed
    _show(write_folder(texts, folder))
    _next(f"cd {shlex.quote(str(folder))}", "python -m pip install --editable . --group dev", "pytest")


def _write(texts: Mapping[str, str], to: Path, spelling: Spelling) -> list[Path]:
    from tenyson.cli.extend.writing import write_files

    written = write_files(_filled(texts, spelling), to)
    _show(written)
    return written


def _filled(texts: Mapping[str, str], spelling: Spelling) -> dict[str, str]:
    return {spelling.fill(path): spelling.fill(text) for path, text in texts.items()}


def _show(written: Sequence[Path]) -> None:
    for path in written:
        click.echo(path)


def _next(*commands: str) -> None:
    click.echo("\n" + "\n".join(commands))


def _typed(file: Path) -> str:
    """With a folder, so that it is taken for a file and not for a name."""
    text = str(file)
    return shlex.quote(text if os.sep in text else f"./{text}")
