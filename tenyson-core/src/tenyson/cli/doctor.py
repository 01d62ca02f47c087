"""tenyson doctor: what would go wrong with a job, before a machine is rented for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from tenyson.cli.names import complete_task
from tenyson.cli.safetext import safe

if TYPE_CHECKING:
    from tenyson.jobs.preflight.finding import Finding
    from tenyson.jobs.preflight.report import Segments

ACCELERATORS = {
    "t4": 16, "a10g": 24, "l4": 24, "rtx4090": 24, "a100-40gb": 40, "l40s": 48, "a100": 80, "h100": 80, "h200": 141, "b200": 180,
}  # fmt: skip
"""GiB of memory, as their makers give it."""
_COLOURS = {"error": "red", "warning": "yellow", "info": "green"}


@click.command()
@click.option("--config", metavar="FILE", help="Configuration of a job, YAML or JSON.")
@click.option("--job", type=click.Choice(["sft", "rl", "eval"]), help="Which job it is for.")
@click.option("--task", help="Task, where the configuration names none.", shell_complete=complete_task)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value. Repeatable.")
@click.option(
    "--accelerator",
    type=click.Choice(list(ACCELERATORS), case_sensitive=False),
    help="Where it shall run; this machine if not given.",
)
@click.option("--processes", type=click.IntRange(1), default=1, show_default=True, help="Under torchrun.")
@click.option(
    "--samples", type=click.IntRange(0), default=2, show_default=True, help="Decoded samples to show."
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(
    config: str | None,
    job: str | None,
    task: str | None,
    overrides: tuple[str, ...],
    accelerator: str | None,
    processes: int,
    samples: int,
    as_json: bool,
) -> int:
    """Check a job, or this machine alone: data, masks, templates, lengths, rewards, memory, disk, versions.

    Loads the tokenizer and the task, never the weights. What the model learns is shown in green. Exits with 1 if anything
    would stop the job.
    """
    shown: list[Segments] = []
    if config is None:
        from tenyson.jobs.preflight.machine import check_versions

        findings: Iterable[Finding] = check_versions("info", "so jobs run elsewhere only")
    elif job is None:
        raise click.UsageError("say which job the configuration is for: --job sft, rl or eval")
    else:
        memory = ACCELERATORS[accelerator.lower()] * 2**30 if accelerator else None
        findings, shown = _examine(job, task, config, overrides, memory, processes, samples)
    found = list(findings)
    failed = any(one.severity == "error" for one in found)
    if as_json:
        click.echo(json.dumps({"findings": [asdict(one) for one in found], "samples": shown}, indent=2))
        return int(failed)
    coloured = sys.stdout.isatty()
    for number, sample in enumerate(shown, start=1):
        how = "green" if coloured else "between « and »"
        click.echo(click.style(f"sample {number}", bold=True) + f" (what is learnt: {how})")
        click.echo("".join(_marked(text, learnt, coloured) for text, learnt in sample) + "\n")
    for one in sorted(found, key=lambda one: ("error", "warning", "info").index(one.severity)):
        label = "fine" if one.severity == "info" else one.severity
        click.echo(f"{click.style(label, fg=_COLOURS[one.severity])}: {safe(str(one))}")
    if not found:
        click.echo("nothing to say: every version is the tested one")
    return int(failed)


def _examine(
    job: str,
    task_name: str | None,
    config_file: str,
    overrides: tuple[str, ...],
    memory: int | None,
    processes: int,
    shown: int,
) -> tuple[list[Finding], list[Segments]]:
    from tenyson.cli.request import Request, make_plan
    from tenyson.jobs.preflight.examine import Examination
    from tenyson.pipeline.execute import make_job

    plan, tasks, _ = make_plan(Request(task=task_name, job=job, config=config_file, overrides=overrides))
    examined = Examination(make_job(plan.steps[0], tasks[plan.steps[0].label]), memory, processes, shown)
    examined.run()
    return examined.findings, examined.samples


def _marked(text: str, learnt: bool, coloured: bool) -> str:
    if not coloured:
        return f"«{safe(text)}»" if learnt else safe(text)
    return click.style(safe(text), fg="green") if learnt else click.style(safe(text), dim=True)
