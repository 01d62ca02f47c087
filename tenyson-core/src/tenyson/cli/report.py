"""tenyson report: a pipeline's report, at any moment of its life."""

from __future__ import annotations

from pathlib import Path

import click

from tenyson.cli.options import database_url, db_url


@click.command()
@click.argument("pipeline", default="latest")
@click.option(
    "--template",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Markdown with {placeholders}; a placeholder is title, outcome, task-sections or the name of a report helper.",
)
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for it, in place of the pipeline's own.",
)
@db_url
def report(pipeline: str, template: Path | None, to: Path | None, db_url: str | None) -> int:
    """Write report.md and report.html of PIPELINE (the latest if not given) from its stored results."""
    from tenyson.cli.attach import go_to
    from tenyson.cli.pipelines import find_pipeline
    from tenyson.pipeline.journal import Journal
    from tenyson.pipeline.report import write_pipeline_report

    template, to = (path.absolute() if path else None for path in (template, to))
    with Journal(database_url(db_url), read_only=True) as journal:
        record = find_pipeline(journal, pipeline)
        go_to(record)
        path = write_pipeline_report(journal, record.id, template=template, directory=to)
    click.echo(path)
    click.echo(path.with_suffix(".html"))
    return 0
