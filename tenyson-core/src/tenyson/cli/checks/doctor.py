"""tenyson doctor: find out what would go wrong with a job before it runs."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from tenyson.cli.checks.cases import Case, find_cases
from tenyson.cli.options import json_option
from tenyson.cli.terminal.format import print_json
from tenyson.cli.terminal.names import JobKindName, complete_task
from tenyson.core.sanitize import safe

if TYPE_CHECKING:
    from tenyson.jobs.preflight.report import Segments
    from tenyson.jobs.runtime.finding import Finding

ACCELERATORS = {
    "t4": 16, "a10g": 24, "l4": 24, "rtx4090": 24, "a100-40gb": 40, "l40s": 48, "a100": 80, "h100": 80, "h200": 141, "b200": 180,
}  # fmt: skip
"""GiB of memory, as their makers give it."""
_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan", "fine": "green"}


@click.command()
@click.option("--config", metavar="FILE", help="Configuration of a job, or an experiment file, YAML or JSON.")
@click.option(
    "--job",
    type=JobKindName(),
    help="The job that the configuration is for  [default: every job that it fits]",
)
@click.option("--task", help="Task, if the configuration names none.", shell_complete=complete_task)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value. Repeatable.")
@click.option(
    "--accelerator",
    type=click.Choice(list(ACCELERATORS), case_sensitive=False),
    help="Accelerator that the job will run on  [default: this machine's]",
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of processes that torchrun will start.",
)
@click.option(
    "--samples", type=click.IntRange(0), default=2, show_default=True, help="Decoded samples to show."
)
@json_option("Print the findings as JSON.")
@click.pass_context
def doctor(
    context: click.Context,
    config: str | None,
    job: str | None,
    task: str | None,
    overrides: tuple[str, ...],
    accelerator: str | None,
    processes: int,
    samples: int,
    as_json: bool,
) -> int:
    """Check a job, or every step of an experiment: data, masks, templates, lengths, rewards, memory, disk, versions.

    Without --config, check only this machine: versions, memory, disk.

    Loads the tokenizer and the task, never the weights. Shows trained tokens in green. Exits with 1 if anything would
    stop the job.
    """
    if config is None:
        from tenyson.jobs.preflight.machine import check_here

        _refuse_options_of_a_job(context)
        visits = [Visit("", list(check_here()), [])]
    else:
        memory = ACCELERATORS[accelerator.lower()] * 2**30 if accelerator else None
        visits = [
            _visit(case, memory, processes, samples) for case in find_cases(config, job, task, overrides)
        ]
    if as_json:
        found = [{"step": visit.label or None, **asdict(one)} for visit in visits for one in visit.findings]
        decoded = [sample for visit in visits for sample in visit.samples]
        print_json({"findings": found, "samples": decoded})
    else:
        for visit in visits:
            if len(visits) > 1:
                click.echo(click.style(f"== {visit.label} ==", bold=True))
            _show(visit)
    return int(any(one.severity == "error" for visit in visits for one in visit.findings))


@dataclass(frozen=True)
class Visit:
    """What was found in one job, or on this machine."""

    label: str
    findings: list[Finding]
    samples: list[Segments]


def _refuse_options_of_a_job(context: click.Context) -> None:
    """Raises: click.UsageError."""
    given = [
        max(parameter.opts, key=len)
        for parameter in context.command.params
        if parameter.name != "as_json"
        and context.get_parameter_source(parameter.name or "") == ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(
            f"without --config FILE this machine alone is checked, and {', '.join(given)} "
            f"{'is' if len(given) == 1 else 'are'} about a job"
        )


def _visit(case: Case, memory: int | None, processes: int, samples: int) -> Visit:
    from tenyson.jobs.preflight.examine import Examination
    from tenyson.jobs.runtime.finding import Finding

    examined = Examination(case.job, memory, processes, samples)
    examined.run()
    notes = [Finding("job", "info", case.note)] if case.note else []
    return Visit(case.label, notes + examined.findings, examined.samples)


def _show(visit: Visit) -> None:
    coloured = sys.stdout.isatty()
    for number, sample in enumerate(visit.samples, start=1):
        how = "green" if coloured else "between « and »"
        click.echo(click.style(f"sample {number}", bold=True) + f" (what is learnt: {how})")
        click.echo("".join(_marked(text, learnt, coloured) for text, learnt in sample) + "\n")
    for one in sorted(visit.findings, key=lambda one: ("error", "warning", "info").index(one.severity)):
        label: str = one.severity
        if one.severity == "info":
            # What comes with advice is no mere confirmation.
            label = "note" if one.next_step or one.check == "job" else "fine"
        click.echo(f"{click.style(label, fg=_COLOURS[label])}: {safe(str(one))}")


def _marked(text: str, learnt: bool, coloured: bool) -> str:
    if not coloured:
        return f"«{safe(text)}»" if learnt else safe(text)
    return click.style(safe(text), fg="green") if learnt else click.style(safe(text), dim=True)
