"""tenyson decide: decide how to handle a failed step."""

from __future__ import annotations

from typing import get_args

import click

from tenyson.cli.options import database_url, db_url
from tenyson.core.user import user_at_host
from tenyson.errors import PipelineError
from tenyson.pipeline.journal.decision import MEANINGS, Decision


@click.command()
@click.argument("pipeline")
@click.argument("step")
@click.argument("decision", type=click.Choice(list(get_args(Decision))))
@db_url
def decide(pipeline: str, step: str, decision: Decision, db_url: str | None) -> int:
    """Decide how to handle a failed STEP of a PIPELINE ("latest": the one that began last).

    \b
    resume    resume from the latest checkpoint
    restart   run this step again from scratch
    continue  accept the results so far and continue
    abort     end the pipeline

    The first answer counts, wherever it comes from.
    """
    from tenyson.cli.pipelines.attach import attach_command
    from tenyson.cli.pipelines.pipelines import find_pipeline
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.lease import is_gone

    with Journal(database_url(db_url), create=False) as journal:
        record = find_pipeline(journal, pipeline)
        journal.step(record.id, step)
        asked = [one for one in journal.decisions(record.id) if one.label == step]
        if not asked:
            raise PipelineError(f"step {step} of {record.id} asks for no decision")
        question = asked[-1]
        if decision not in question.choices:
            raise PipelineError(
                f"step {step} of {record.id} cannot be decided by {decision}",
                next_step=f"Possible: {', '.join(question.choices)}.",
            )
        if not journal.answer(question.id, decision, user_at_host()):
            question = next(one for one in journal.decisions(record.id) if one.id == question.id)
            raise PipelineError(
                f"step {step} of {record.id} was decided before: {question.answer}, by {question.answered_by or 'SQL'}"
            )
        driven = (
            record.lease_until is not None
            and record.lease_until > journal.now()
            and not is_gone(record.holder)
        )
    click.echo(f"{record.id} {step}: {decision} ({MEANINGS[decision]})")
    if not driven:
        click.echo(f"no controller is at work on it: {attach_command(record.id, db_url)}")
    return 0
