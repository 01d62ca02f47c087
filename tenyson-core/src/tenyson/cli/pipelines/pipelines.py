"""tenyson pipelines: how pipelines stand, or the steps of one."""

from __future__ import annotations

import difflib
import shlex
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli.options import LATEST, as_json, database_url, db_url
from tenyson.cli.terminal.format import moment, print_json
from tenyson.cli.terminal.left_out import say_cut
from tenyson.cli.terminal.table import print_table
from tenyson.errors import DamagedRowError, PipelineError

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import PipelineRecord


@click.command()
@click.argument("pipeline", required=False)
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(min=1),
    help="Show at most this many, the newest first.",
)
@as_json
@db_url
def pipelines(pipeline: str | None, limit: int, as_json: bool, db_url: str | None) -> int:
    """List pipelines, or show the steps of PIPELINE and what was decided about them."""
    from tenyson.pipeline.journal.journal import Journal

    with Journal(database_url(db_url), read_only=True) as journal:
        data = _one(journal, find_pipeline(journal, pipeline)) if pipeline else _all(journal, limit)
        known = 0 if pipeline else journal.count_pipelines()
        damaged = list(journal.skipped)
    if as_json:
        print_json(data)
    elif isinstance(data, list):
        rows = [
            [one["pipeline"], one["state"], one["steps"], one["begun"], one["controller"]] for one in data
        ]
        print_table(["PIPELINE", "STATE", "STEPS", "BEGUN", "CONTROLLER"], rows)
    else:
        click.echo(f"{data['pipeline']}: {data['state']}; controller: {data['controller'] or 'none'}\n")
        rows = [
            [
                one["label"],
                one["state"],
                str(one["attempt"] or ""),
                one["run_id"],
                ", ".join(one["needs"]),
                one["note"],
            ]
            for one in data["steps"]
        ]
        print_table(["STEP", "STATE", "ATTEMPT", "RUN", "NEEDS", ""], rows)
        for one in data["waiting"]:
            where = f" --db-url {shlex.quote(db_url)}" if db_url else ""
            click.echo(
                f"\ntenyson decide {data['pipeline']} {one['label']} {'|'.join(one['choices'])}{where}"
            )
    if not pipeline:
        say_cut(min(limit, known), known, "pipelines", f"--limit {known} shows all")
    for told in damaged:
        click.echo(click.style("error: ", fg="red", bold=True) + told, err=True)
    return 2 if damaged else 0


def find_pipeline(journal: Journal, name: str) -> PipelineRecord:
    """The pipeline of that name, or the only one that begins so; "latest" is the one begun last.

    Raises: PipelineError: there is none, or several.
    """
    if (found := journal.pipeline(name)) is not None:
        return found
    known = journal.pipelines()
    for error in journal.skipped.values():
        # Which one is the latest, or the only one that begins so, is not known then.
        raise error
    begin = known[:1] if name == LATEST else [one for one in known if one.id.startswith(name)]
    if len(begin) == 1:
        return begin[0]
    if begin:
        raise PipelineError(
            f"several pipelines begin with {name!r}: {', '.join(one.id for one in begin[:5])}"
        )
    near = difflib.get_close_matches(name, [one.id for one in known], n=1)
    hint = f"did you mean {near[0]}?" if near else "`tenyson pipelines` lists those that are known here"
    raise PipelineError(f"the journal knows no pipeline {name!r}", next_step=hint)


def _all(journal: Journal, limit: int) -> list[dict[str, Any]]:
    found = []
    for record in journal.pipelines(limit=limit):
        try:
            steps = journal.steps(record.id)
        except DamagedRowError as error:
            journal.skipped[str(error)] = error
            continue
        waiting = sum(step.state == "WAITING_HUMAN" for step in steps)
        done = f"{sum(step.state == 'DONE' for step in steps)} of {len(steps)}"
        found.append(
            {
                "pipeline": record.id,
                "title": record.title,
                "state": _state(record, waiting),
                "steps": done + (f", {waiting} waiting" if waiting else ""),
                "begun": moment(record.created_at),
                "controller": _controller(journal, record),
            }
        )
    return found


def _one(journal: Journal, record: PipelineRecord) -> dict[str, Any]:
    attempts = {one.label: one for one in journal.attempts(record.id)}
    steps = journal.steps(record.id)
    open_ones = {one.label: one for one in journal.decisions(record.id) if one.answer is None}
    rows = []
    for step in steps:
        attempt = attempts.get(step.label)
        result = attempt.result if attempt else None
        note = f"reused from {attempt.reused_from}" if attempt and attempt.reused_from else ""
        if step.state in ("FAILED", "WAITING_HUMAN") and result is not None:
            note = (result.failure_reason or "").splitlines()[0] if result.failure_reason else result.status
        rows.append(
            {
                "label": step.label,
                "state": step.state,
                "attempt": step.attempt,
                "run_id": attempt.run_id if attempt else step.run_id,
                "needs": list(step.needs),
                "note": note,
            }
        )
    waiting = [
        {
            "label": step.label,
            "choices": list(open_ones[step.label].choices),
            "asked_at": open_ones[step.label].asked_at,
        }
        for step in steps
        if step.state == "WAITING_HUMAN" and step.label in open_ones
    ]
    return {
        "pipeline": record.id,
        "title": record.title,
        "state": _state(record, len(waiting)),
        "controller": _controller(journal, record),
        "steps": rows,
        "waiting": waiting,
    }


def _state(record: PipelineRecord, waiting: int) -> str:
    return "waiting for a decision" if waiting and record.status in ("running", "stopped") else record.status


def _controller(journal: Journal, record: PipelineRecord) -> str:
    from tenyson.pipeline.journal.lease import is_gone

    if record.holder is None or record.lease_until is None:
        return ""
    who = f"process {record.holder['pid']} on {record.holder['host']}"
    return f"{who} (gone)" if is_gone(record.holder) or record.lease_until < journal.now() else who
