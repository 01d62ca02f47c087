"""tenyson verify-resume: proves, for one configuration on this machine, that a resumed training is the same training."""

from __future__ import annotations

import contextlib
import random
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tenyson.cli.options import json_option
from tenyson.cli.terminal.format import print_json
from tenyson.cli.terminal.names import JobKindName, complete_task
from tenyson.errors import TenysonError

if TYPE_CHECKING:
    from tenyson.jobs.checkpoints.verification import Comparison


@click.command("verify-resume")
@click.option("--config", required=True, metavar="FILE", help="Configuration of the job, YAML or JSON.")
@click.option(
    "--job", type=JobKindName(trained=True), default="sft", show_default=True, help="What to train."
)
@click.option("--task", help="Task, if the configuration names none.", shell_complete=complete_task)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value. Repeatable.")
@click.option(
    "--kill-after",
    "steps",
    multiple=True,
    type=click.IntRange(1),
    metavar="STEP",
    help="Kill after this step. Repeatable  [default: half-way]",
)
@click.option("--kills", type=click.IntRange(1), metavar="N", help="Kill N times, after random steps.")
@click.option("--seed", default=0, show_default=True, help="Seed of the random steps.")
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Number of processes that torchrun starts.",
)
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Keep the runs here."
)
@json_option("Print the comparison as JSON.")
def verify_resume(
    config: str,
    job: str,
    task: str | None,
    overrides: tuple[str, ...],
    steps: tuple[int, ...],
    kills: int | None,
    seed: int,
    processes: int,
    keep: Path | None,
    as_json: bool,
) -> int:
    """Train once without interruption and once with kills, and compare every number, rollout and weight bit by bit.

    Exits with 1 if anything differs, and with 2 if nothing was resumed.
    """
    from tenyson.cli.pipelines.request import Request, make_plan
    from tenyson.jobs.checkpoints.verification import verify_resume as verify
    from tenyson.pipeline.graph.define import make_job

    plan, tasks, _ = make_plan(Request(task=task, job=job, config=config, overrides=overrides))
    spec = make_job(plan.steps[0], tasks[plan.steps[0].label]).spec()

    def chosen(last: int) -> Sequence[int]:
        if kills is None:
            return steps
        return random.Random(seed).sample(range(1, last), min(kills, last - 1))

    with _place(keep) as folder:
        comparison = verify(
            spec, folder, chosen, lambda line: click.echo(line, err=True), processes=processes
        )
    if as_json:
        print_json(asdict(comparison) | {"identical": comparison.identical})
    else:
        _print(comparison)
    return 0 if comparison.identical else 1


@contextlib.contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    """The runs' folder. It is removed afterwards unless it is to be kept, except for logs of failures, which the error names."""
    if keep is not None:
        try:
            keep.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.UsageError(f"--keep: the folder {keep} cannot be made: {error.strerror}") from error
    folder = keep or Path(tempfile.mkdtemp(prefix="tenyson-verify-"))
    failed = False
    try:
        yield folder
    except TenysonError:
        failed = any(folder.glob("*.log"))
        raise
    finally:
        if keep is None:
            for path in [path for path in folder.iterdir() if path.is_dir()] if failed else [folder]:
                shutil.rmtree(path, ignore_errors=True)


def _print(comparison: Comparison) -> None:
    for kill in comparison.kills:
        resumed = f"resumed from step {kill.resumed_from}: {kill.lost} steps repeated"
        click.echo(
            f"killed after step {kill.after}, {resumed if kill.resumed_from else 'before the first checkpoint'}"
        )
    compared = f"{comparison.steps} steps, {comparison.numbers} numbers"
    compared += f", {comparison.rollouts} rollouts" if comparison.rollouts else ""
    if comparison.identical:
        click.echo(click.style("identical to the bit", fg="green") + f": {compared} and the trained weights")
        return
    click.echo(click.style("different", fg="red", bold=True) + f" ({compared} were compared):")
    for line in comparison.differences:
        click.echo(f"  {line}")
