"""tenyson report: a pipeline's report, at any moment of its life."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import click

from tenyson.cli.options import database_url, db_url, with_home
from tenyson.errors import ReportError


@click.command()
@click.argument("pipeline", default="latest")
@click.option(
    "--template",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Markdown with {placeholders}; a placeholder is title, outcome, task-sections or the name of a report helper.",
)
@click.option(
    "--to",
    metavar="FOLDER|-",
    help="Folder for it, in place of the pipeline's own; - prints report.md.",
)
@db_url
def report(pipeline: str, template: Path | None, to: str | None, db_url: str | None) -> int:
    """Write report.md and report.html of PIPELINE (the latest if not given) from its stored results."""
    from tenyson.cli.pipelines.pipelines import find_pipeline
    from tenyson.core.destination import is_special, is_stdout, open_destination
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.project import locate
    from tenyson.pipeline.report import write_pipeline_report

    to = None if to is None else with_home(to)
    template = template.absolute() if template else None
    printed = to is not None and (is_stdout(to) or is_special(to))
    folder = None if to is None or printed else _folder(to)
    device = None if to is None or is_stdout(to) else str(Path(to).absolute())
    with Journal(database_url(db_url), read_only=True) as journal, tempfile.TemporaryDirectory() as scratch:
        record = find_pipeline(journal, pipeline)
        os.chdir(locate(journal, record).root)
        where = Path(scratch) if printed else folder
        try:
            path = write_pipeline_report(journal, record.id, template=template, directory=where)
        except OSError as error:
            raise ReportError(f"cannot write the report: {error.strerror}", place=error.filename) from error
        if printed:
            with open_destination(device or "-") as file:
                file.write(path.read_bytes())
            return 0
    click.echo(path)
    click.echo(path.with_suffix(".html"))
    return 0


def _folder(to: str) -> Path:
    """Raises: UsageError: it cannot be one."""
    if not to:
        raise click.UsageError("--to: the name of the folder is empty; - prints the report")
    if Path(to).exists() and not Path(to).is_dir():
        raise click.UsageError(
            f"--to: {to} is a file, and the report is a folder of files; - prints report.md"
        )
    if Path(to).suffix.lower() in (".md", ".html", ".pdf") and not Path(to).exists() and not to.endswith("/"):
        raise click.UsageError(
            f"--to: {to} looks like a file, and the report is a folder of files; - prints report.md"
        )
    return Path(to).absolute()
