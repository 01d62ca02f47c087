"""tenyson why: why a step was run, or was not."""

from __future__ import annotations

import click

from tenyson.cli.options import database_url, db_url
from tenyson.cli.terminal.format import moment
from tenyson.errors import PipelineError


@click.command()
@click.argument("step")
@click.option("--pipeline", default="latest", show_default=True, help="The pipeline whose step it is.")
@db_url
def why(step: str, pipeline: str, db_url: str | None) -> int:
    """Explain why STEP ran again, or whose result it reused: show everything that differs from the nearest earlier run."""
    from tenyson.cli.pipelines.pipelines import find_pipeline
    from tenyson.pipeline.cache.inputs import comparable, differences, in_words, nearest
    from tenyson.pipeline.journal.journal import Journal

    with Journal(database_url(db_url), read_only=True) as journal:
        record = find_pipeline(journal, pipeline)
        journal.step(record.id, step)
        own = [one for one in journal.attempts(record.id) if one.label == step]
        if not own:
            raise PipelineError(f"step {step} of {record.id} was not started yet")
        last = own[-1]
        if last.reused_from:
            click.echo(
                f"{step} of {record.id} was not run: nothing differs from {last.reused_from}, whose result is reused"
            )
            return 0
        if last.inputs is None:
            click.echo(
                f"{step} of {record.id} was run: its task's code could not be found here, so it was compared with nothing"
            )
            return 0
        earlier = [
            one
            for one in journal.attempts_with_inputs()
            if one.started_at < own[0].started_at and one.spec.job_type == last.spec.job_type
        ]
        other = nearest(last, earlier)
    if other is None:
        click.echo(f"{step} of {record.id} was run: no earlier {last.spec.job_type} step succeeded")
        return 0
    assert other.inputs is not None
    found = list(differences(comparable(other.inputs), comparable(last.inputs)))
    when = moment(other.started_at, exact=False)
    if not found:
        click.echo(
            f"{step} of {record.id} was run although nothing differs from {other.run_id} ({when}): --no-reuse, --from or --only asked for it, "
            "or that run's files are gone"
        )
        return 0
    click.echo(f"{step} of {record.id} was run: it differs from {other.run_id} ({when}) in")
    for difference in found:
        click.echo(f"  {in_words(difference, last.spec.config)}")
    return 0
