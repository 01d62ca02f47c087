"""`tenyson compare`: two runs, sample by sample where they share samples, with an interval and a significance test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli import options
from tenyson.cli.format import number, print_json
from tenyson.cli.table import print_table
from tenyson.errors import TelemetryError

if TYPE_CHECKING:
    from tenyson.reporting.statistics import Difference
    from tenyson.telemetry.store import Store


@click.command()
@click.argument("before")
@click.argument("after")
@options.db_url
@click.option("--metric", multiple=True, help="Only these: reward, a reward component, truncated, tokens.")
@options.as_json
def compare(before: str, after: str, db_url: str | None, metric: tuple[str, ...], as_json: bool) -> None:
    """Compare the rollouts of two runs: AFTER less BEFORE, paired by sample where both played it.

    Made for evaluations; of a run of RL all rollouts count, whatever the step.
    """
    with options.open_store(db_url) as store:
        names = [options.known_run(store, name) for name in (before, after)]
        first, second = (_values(store, name) for name in names)
        changed = _config_changes(store, *names)
    shared_names = [name for name in first if name in second]
    if metric:
        unknown = [name for name in metric if name not in shared_names]
        if unknown:
            raise TelemetryError(
                f"both runs have no {unknown[0]!r}", next_step=f"both have {', '.join(shared_names)}"
            )
        shared_names = list(metric)
    if not shared_names:
        raise TelemetryError("the runs have no rollouts with a number in common")
    results = {name: _compared(first[name], second[name]) for name in shared_names}
    if as_json:
        print_json({"before": names[0], "after": names[1], "config": changed, "metrics": results})
        return
    click.echo(f"{names[1]} less {names[0]}")
    _print(results)
    if changed:
        click.echo("\nwhat was asked differently:")
        print_table(("key", names[0], names[1]), [(key, *map(str, pair)) for key, pair in changed.items()])


def _print(results: Mapping[str, dict[str, Any]]) -> None:
    rows = []
    for name, result in results.items():
        interval = f"{number(result['low'])} to {number(result['high'])}"
        rows.append(
            (name, number(result["before"]), number(result["after"]), f"{result['value']:+.4g}", interval,
             "" if result["p"] is None else f"{result['p']:.3g}", str(result["n"]))
        )  # fmt: skip
    print_table(("metric", "before", "after", "difference", "95% interval", "p", "n"), rows)
    if all(result["paired"] for result in results.values()):
        click.echo("paired by sample; p: sign-flip permutation test over samples, two-sided")
    else:
        click.secho(
            "not paired: the runs share too few samples, so the interval is that of two independent means",
            fg="yellow",
        )


Samples = dict[str, list[tuple[str, float]]]


def _values(store: Store, run: str) -> Samples:
    """(sample id, value) of each rollout, by metric."""
    found: Samples = {}
    for row in store.scores(run):
        candidates = {"reward": row["reward"], **row["components"]}
        candidates |= {"truncated": float(row["finish_reason"] == "length"), "tokens": row["tokens"]}
        for name, value in candidates.items():
            if isinstance(value, (bool, int, float)):
                found.setdefault(name, []).append((row["sample_id"], float(value)))
    if not found:
        raise TelemetryError(
            f"run {run} has no rollouts to compare", next_step="Compare evaluations, or runs of RL."
        )
    return found


def _compared(before: list[tuple[str, float]], after: list[tuple[str, float]]) -> dict[str, Any]:
    from tenyson.reporting.statistics import (
        can_be_paired,
        paired_difference,
        sample_means,
        sign_flip_test,
        unpaired_difference,
    )
    from tenyson.tasks.metric import Metric

    first, second = sample_means(before), sample_means(after)
    p = None
    difference: Difference
    if can_be_paired(first, second):
        difference = paired_difference(first, second)
        shared = sorted(first.keys() & second.keys())
        p = sign_flip_test([second[sample] - first[sample] for sample in shared])
    else:
        difference = unpaired_difference(
            Metric.mean(list(first.values())), Metric.mean(list(second.values()))
        )
    means = {name: sum(found.values()) / len(found) for name, found in (("before", first), ("after", second))}
    return {**means, **asdict(difference), "p": p}


def _config_changes(store: Store, before: str, after: str) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, but for the run's own name."""
    flat = [_flat((record.config if (record := store.run(name)) else {}), "") for name in (before, after)]
    keys = sorted(flat[0].keys() | flat[1].keys())
    pairs = {
        key: (flat[0].get(key), flat[1].get(key)) for key in keys if key not in ("run.id", "run.output_dir")
    }
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        found: dict[str, Any] = {}
        for key, item in value.items():
            found |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
        return found
    return {prefix: value}
