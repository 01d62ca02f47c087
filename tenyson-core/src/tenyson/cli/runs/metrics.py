"""`tenyson metrics`: the curves of a run, as a table or drawn in the terminal."""

from __future__ import annotations

import csv
import shutil
import sys
from fnmatch import fnmatch
from math import isfinite
from pathlib import Path

import click

from tenyson.cli import options
from tenyson.cli.terminal.format import as_float, number, print_json
from tenyson.cli.terminal.left_out import known_names, say_cut
from tenyson.cli.terminal.table import print_table
from tenyson.core.sanitize import safe
from tenyson.core.stdio import is_terminal
from tenyson.errors import TelemetryError

SHOWN = ("loss", "eval_loss", "reward", "reward_std", "kl", "learning_rate")
"""Where no metric is named and these are there."""
PLOT_LINES = 15

Curve = list[tuple[int, float]]


@click.command()
@click.argument("run")
@click.argument("names", nargs=-1, metavar="[METRIC]...")
@options.db_url
@options.output_dir
@click.option("--plot", is_flag=True, help="Plot the curves in the terminal.")
@click.option("--with", "others", multiple=True, metavar="RUN", help="Plot these runs' curves as well.")
@click.option(
    "--smooth", default=1, show_default=True, type=click.IntRange(min=1), help="Average over this many rows."
)
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV.")
@options.as_json
def metrics(
    run: str,
    names: tuple[str, ...],
    db_url: str | None,
    output_dir: Path,
    plot: bool,
    others: tuple[str, ...],
    smooth: int,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Show the metrics that a run logged, each step once. METRIC is a name or a pattern such as 'rewards/*'."""
    from tenyson.cli.runs.find import open_run

    found: dict[str, dict[str, Curve]] = {}
    for begin in (run, *others):
        with open_run(begin, db_url, output_dir) as (store, name):
            found[name] = _curves(store.metrics(name), smooth)
    runs = list(found)
    known = list(dict.fromkeys(metric for curves in found.values() for metric in curves))
    if not known:
        raise TelemetryError(f"run {runs[0]} has logged no numbers yet")
    chosen = _chosen(known, names)
    if not names:
        say_cut(
            len(chosen), len(known), "metrics", f"name others, or all of them: tenyson metrics {runs[0]} '*'"
        )
    if as_json:
        print_json(
            {name: {metric: curves.get(metric, []) for metric in chosen} for name, curves in found.items()}
        )
    elif plot or others:
        for metric in chosen:
            curves = {name: found[name][metric] for name in runs if found[name].get(metric)}
            click.echo(draw(metric, curves))
            if lacking := [name for name in runs if name not in curves]:
                click.echo(safe(f"{metric} was not logged by {', '.join(lacking)}"), err=True)
    else:
        _print_rows(found[runs[0]], chosen, as_csv)


def draw(metric: str, curves: dict[str, Curve]) -> str:
    """A chart of one metric, one line a run; in colours only on a terminal. What is not finite is told below it."""
    import plotext

    plotext.clear_figure()
    steps = [step for curve in curves.values() for step, _ in curve]
    if min(steps) < max(steps):
        # Also where the last ones have no number: else a run that diverged looks as if it had ended.
        plotext.xlim(min(steps), max(steps))
    notes = []
    width = min(shutil.get_terminal_size((100, 24)).columns, 140)
    plotext.plotsize(width, PLOT_LINES)
    plotext.title(safe(metric))
    plotext.xlabel("step")
    # Eight dots in a letter, where the terminal has such letters.
    marker = (
        "braille" if (getattr(sys.stdout, "encoding", None) or "utf-8").lower().startswith("utf") else "*"
    )
    for name, curve in curves.items():
        finite = [(step, value) for step, value in curve if isfinite(value)]
        odd = [step for step, value in curve if not isfinite(value)]
        several = len(curves) > 1
        if odd:
            of = f" of {name}" if several else ""
            notes.append(
                f"{metric}{of} is not finite at {len(odd)} of {len(curve)} steps, first at step {odd[0]}"
            )
        if finite:
            steps, values = map(list, zip(*finite, strict=True))
            plotext.plot(steps, values, label=safe(name) if several else None, marker=marker)
    if not is_terminal(sys.stdout):
        plotext.theme("clear")
    return "\n".join([str(plotext.build()).rstrip("\n"), *map(safe, notes)])


def _curves(rows: list[dict], smooth: int) -> dict[str, Curve]:  # type: ignore[type-arg]
    found: dict[str, Curve] = {}
    for row in rows:
        for name, value in row["metrics"].items():
            if (found_value := as_float(value)) is not None:
                found.setdefault(name, []).append((row["step"], found_value))
    if smooth > 1:
        return {name: _smoothed(curve, smooth) for name, curve in found.items()}
    return found


def _smoothed(curve: Curve, over: int) -> Curve:
    """Mean over the last `over` rows, fewer at the beginning."""
    values = [value for _, value in curve]
    means = []
    for place, (step, _) in enumerate(curve):
        window = values[max(0, place - over + 1) : place + 1]
        means.append((step, sum(window) / len(window)))
    return means


def _chosen(known: list[str], names: tuple[str, ...]) -> list[str]:
    if not names:
        return [name for name in SHOWN if name in known] or known[:6]
    chosen = []
    for pattern in names:
        matches = [name for name in known if fnmatch(name, pattern)]
        if not matches:
            raise TelemetryError(
                f"no metric is called {pattern!r}",
                next_step=known_names(pattern, sorted(known), what="there are"),
            )
        chosen += [name for name in matches if name not in chosen]
    return chosen


def _print_rows(curves: dict[str, Curve], chosen: list[str], as_csv: bool) -> None:
    by_step: dict[int, dict[str, float]] = {}
    for name in chosen:
        for step, value in curves[name]:
            by_step.setdefault(step, {})[name] = value
    if as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(("step", *chosen))
        writer.writerows(
            (step, *(row.get(name, "") for name in chosen)) for step, row in sorted(by_step.items())
        )
        return
    rows = [(str(step), *(number(row.get(name)) for name in chosen)) for step, row in sorted(by_step.items())]
    print_table(("step", *chosen), rows)
