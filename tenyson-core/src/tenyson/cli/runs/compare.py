"""`tenyson compare`: two runs, sample by sample where they share samples, with an interval and a significance test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli import options
from tenyson.cli.terminal.format import as_float, number, print_json, wrapped
from tenyson.cli.terminal.left_out import known_names, some
from tenyson.cli.terminal.table import print_table
from tenyson.config.checks.endpoint import asks_endpoint
from tenyson.core.sanitize import safe
from tenyson.errors import TelemetryError
from tenyson.telemetry.events.git import UNKNOWN, code_in_words

if TYPE_CHECKING:
    from tenyson.reporting.statistics import Difference


@click.command()
@click.argument("before")
@click.argument("after")
@options.db_url
@options.output_dir
@click.option(
    "--metric", multiple=True, help="Compare only these: reward, a reward component, truncated, tokens."
)
@options.as_json
def compare(
    before: str, after: str, db_url: str | None, output_dir: Path, metric: tuple[str, ...], as_json: bool
) -> None:
    """Compare the rollouts of two runs: AFTER minus BEFORE, paired by sample if the runs share most samples.

    Meant for evaluations. For a run of RL, the rollouts of all steps count.
    """
    from tenyson.cli.runs.find import open_run

    names, scores, configs, codes = [], [], [], []
    for begin in (before, after):
        with open_run(begin, db_url, output_dir) as (store, name):
            names.append(name)
            scores.append(store.scores(name))
            configs.append(record.config if (record := store.run(name)) else {})
            codes.append(attempts[-1] if (attempts := store.attempts(name)) else {})
    by_id = _same_questions(*configs)
    played = [_played(name, rows, by_id=by_id) for name, rows in zip(names, scores, strict=True)]
    first, second = played
    changed = _config_changes(*configs)
    code = _code_changes(*codes)
    shared_names = [name for name in first.values if name in second.values]
    if metric:
        unknown = [name for name in metric if name not in shared_names]
        if unknown:
            one_has = [name for name, one in zip(names, played, strict=True) if unknown[0] in one.values]
            raise TelemetryError(
                f"only {one_has[0]} has {unknown[0]!r}" if one_has else f"neither run has {unknown[0]!r}",
                next_step=known_names(unknown[0], shared_names, what="both have"),
            )
        shared_names = list(metric)
    if not shared_names:
        raise TelemetryError("the runs have no rollouts with a number in common")
    results = {name: _compared(name, first, second) for name in shared_names}
    samples = _overlap(first, second)
    alone = {
        side: sorted(one.values.keys() - other.values.keys())
        for side, one, other in zip(_SIDES, (first, second), (second, first), strict=True)
    }
    if as_json:
        about = {"before": names[0], "after": names[1], "config": changed, "samples": samples, "code": code}
        print_json({**about, "metrics": results, "metrics_of_one": alone})
        return
    click.echo(safe(f"{names[1]} minus {names[0]}"))
    _print(results)
    if by_id:
        told = "samples are matched by id: the prompts of a model behind a URL are recorded without a chat template's markers"
        click.echo(wrapped(told, 2))
    for note in _left_out(names, samples, results):
        click.secho(wrapped(safe(note), 2), fg="yellow")
    for name, side in zip(names, _SIDES, strict=True):
        if alone[side] and not metric:
            told = f"only {name} has {some(alone[side])}: nothing to compare"
            click.secho(wrapped(safe(told), 2), fg="yellow")
    if code:
        click.echo(wrapped(safe(f"\ncode: {code[0]} of {names[0]}; {code[1]} of {names[1]}"), 2))
    if changed:
        click.echo("\nwhat was asked differently:")
        print_table(("key", names[0], names[1]), [(key, *map(str, pair)) for key, pair in changed.items()])


def _print(results: Mapping[str, dict[str, Any]]) -> None:
    rows = []
    for name, result in results.items():
        interval = "none" if result["low"] is None else f"{number(result['low'])} to {number(result['high'])}"
        rows.append(
            (name, number(result["before"]), number(result["after"]), f"{result['value']:+.4g}", interval,
             "" if result["p"] is None else f"{result['p']:.3g}", str(result["n"]))
        )  # fmt: skip
    print_table(("metric", "before", "after", "difference", "95% interval", "p", "n"), rows)
    if any(result["paired"] for result in results.values()):
        click.echo("paired by sample; p: sign-flip permutation test over samples, two-sided")
    unpaired = [name for name, result in results.items() if not result["paired"]]
    if unpaired:
        click.secho(
            safe(f"not paired: {', '.join(unpaired)}")
            + "; the runs share too few samples, so the interval is that of two "
            "independent means, and p that of Welch's test, two-sided",
            fg="yellow",
        )


def _left_out(
    names: Sequence[str], samples: Mapping[str, int], results: Mapping[str, dict[str, Any]]
) -> list[str]:
    """What the numbers of the pairs do not cover."""
    alone = [
        *(
            f"{samples[side]} only in {name}"
            for side, name in zip(_SIDES, names, strict=True)
            if samples[side]
        ),
        *([f"{samples['other_prompt']} with another prompt in each run"] if samples["other_prompt"] else []),
    ]
    notes = [f"samples without a partner: {', '.join(alone)}"] if alone else []
    same: dict[str, list[str]] = {}
    for name, result in results.items():
        if result["note"]:
            same.setdefault(result["note"], []).append(name)
    notes += [f"{', '.join(found)}: {note}" for note, found in same.items()]
    for name, result in results.items():
        counts = zip(result["without_number"], names, strict=True)
        lacking = " and ".join(f"{count} of {run}" for count, run in counts if count)
        if lacking:
            notes.append(f"{name} is missing or not finite in these rollouts, which are left out: {lacking}")
    return notes


_SIDES = ("only_before", "only_after")


@dataclass
class _Played:
    """The rollouts of a run. A sample is an id and a prompt: two data sets may use the same ids."""

    rollouts: int
    samples: set[tuple[str, int]]
    values: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    """(sample, value) of each rollout that has a finite one, by metric."""


def _same_questions(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether one run asked a model behind a URL what the other one asked a model of its own: by the same task, split and seed."""
    if asks_endpoint(before) == asks_endpoint(after):
        return False
    keys = ("task", None), ("evaluation", "split"), ("run", "seed")
    asked = [
        [
            section if key is None else section.get(key)
            for name, key in keys
            for section in [config.get(name) or {}]
        ]
        for config in (before, after)
    ]
    return asked[0] == asked[1]


def _played(run: str, rows: Sequence[Mapping[str, Any]], *, by_id: bool) -> _Played:
    """`by_id`: whether the same id is the same sample, whatever the prompt's text."""
    played = _Played(len(rows), {(row["sample_id"], 0 if by_id else row["prompt"]) for row in rows})
    for row in rows:
        sample = row["sample_id"] if by_id else f"{row['sample_id']} {row['prompt']}"
        candidates = {"reward": row["reward"], **row["components"]}
        candidates |= {"truncated": float(row["finish_reason"] == "length"), "tokens": row["tokens"]}
        for name, candidate in candidates.items():
            value = as_float(candidate)
            if value is not None and isfinite(value):
                played.values.setdefault(name, []).append((sample, value))
    if not played.values:
        raise TelemetryError(
            f"run {run} has no rollouts to compare", next_step="Compare evaluations, or runs of RL."
        )
    return played


def _overlap(before: _Played, after: _Played) -> dict[str, int]:
    """How many samples both runs have, and how many have no partner."""
    shared = before.samples & after.samples
    first, second = ({sample for sample, _ in played.samples} for played in (before, after))
    return {
        "shared": len(shared),
        "only_before": len(first - second),
        "only_after": len(second - first),
        "other_prompt": len((first & second) - {sample for sample, _ in shared}),
    }


def _compared(name: str, before: _Played, after: _Played) -> dict[str, Any]:
    from tenyson.reporting.statistics import (
        can_be_paired,
        estimate,
        paired_difference,
        sample_means,
        sign_flip_test,
        unpaired_difference,
        welch_test,
    )

    first, second = (sample_means(played.values[name]) for played in (before, after))
    difference: Difference
    if can_be_paired(first, second):
        difference = paired_difference(first, second)
        shared = sorted(first.keys() & second.keys())
        first, second = ({sample: means[sample] for sample in shared} for means in (first, second))
        p: float | None = sign_flip_test([second[sample] - first[sample] for sample in shared])
    else:
        a, b = list(first.values()), list(second.values())
        difference = unpaired_difference(estimate(a), estimate(b))
        p = welch_test(a, b)
    lacking = [played.rollouts - len(played.values[name]) for played in (before, after)]
    means = {"before": fmean(first.values()), "after": fmean(second.values())}
    told = {key: None if value != value else value for key, value in asdict(difference.tested(p)).items()}
    return {**means, **told, "without_number": lacking}


def _config_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Keys whose values differ, but for the run's own name."""
    flat = [_flat(config, "") for config in (before, after)]
    keys = sorted(flat[0].keys() | flat[1].keys())
    pairs = {
        key: (flat[0].get(key), flat[1].get(key)) for key in keys if key not in ("run.id", "run.output_dir")
    }
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


def _code_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, str] | None:
    """The code of both runs, where it differs or one of them is unknown; None where it is known to be the same."""
    pairs = [(attempt.get("git_commit"), attempt.get("git_diff_hash")) for attempt in (before, after)]
    known = all(commit and not (changes or "").startswith(UNKNOWN) for commit, changes in pairs)
    if known and pairs[0] == pairs[1]:
        return None
    first, second = (code_in_words(*pair) for pair in pairs)
    if known and first == second:
        first, second = (
            f"{words} ({str(pair[1])[:8]})" for words, pair in zip((first, second), pairs, strict=True)
        )
    return first, second


def _flat(value: Any, prefix: str) -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        found: dict[str, Any] = {}
        for key, item in value.items():
            found |= _flat(item, f"{prefix}.{key}" if prefix else str(key))
        return found
    return {prefix: value}
