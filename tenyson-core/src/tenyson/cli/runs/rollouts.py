"""`tenyson rollouts`: prompts, completions and their rewards."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tenyson.cli import options
from tenyson.cli.terminal.format import number, print_json
from tenyson.cli.terminal.left_out import known_names, say_cut
from tenyson.core.sanitize import safe
from tenyson.errors import TelemetryError

if TYPE_CHECKING:
    from tenyson.telemetry.read.store import Store

CUT = 600
"""Characters of a text that are shown without --full: as many from its beginning as from its end."""
CHUNK = 2000
"""Rollouts that --grep has in memory at a time."""

Row = Mapping[str, Any]


@click.command()
@click.argument("run")
@options.db_url
@options.output_dir
@click.option("--step", type=int, help="Show only rollouts of this policy step.")
@click.option("--worst", type=click.IntRange(min=1), metavar="N", help="Show the N with the lowest reward.")
@click.option("--best", type=click.IntRange(min=1), metavar="N", help="Show the N with the highest reward.")
@click.option("--group", help="Show only this group: one prompt at one step.")
@click.option("--sample", help="Show only rollouts of this sample.")
@click.option("--grep", metavar="REGEX", help="Show only rollouts whose completion or prompt matches.")
@click.option(
    "--training/--evaluation", default=None, help="Show only rollouts made for training, or only the others."
)
@click.option(
    "--dropped", is_flag=True, help="Show only rollouts made for training that were not trained on."
)
@click.option(
    "--errors",
    is_flag=True,
    help="Show only rollouts that an environment, tool, reward, agent or endpoint broke, and how.",
)
@click.option(
    "--refused",
    is_flag=True,
    help="Show only rollouts in which a call of a tool was refused, and what the model was told.",
)
@click.option(
    "--diff", nargs=2, type=int, metavar="STEP1 STEP2", help="Compare the same samples at two steps."
)
@click.option(
    "--limit", default=10, show_default=True, type=click.IntRange(min=1), help="Show at most this many."
)
@click.option("--full", is_flag=True, help="Print texts in full.")
@options.as_json
def rollouts(
    run: str,
    db_url: str | None,
    output_dir: Path,
    step: int | None,
    worst: int | None,
    best: int | None,
    group: str | None,
    sample: str | None,
    grep: str | None,
    training: bool | None,
    dropped: bool,
    errors: bool,
    refused: bool,
    diff: tuple[int, int] | None,
    limit: int,
    full: bool,
    as_json: bool,
) -> None:
    """Show rollouts of a run, newest first: prompt, completion, reward, advantage, and why one was not trained on."""
    if worst and best:
        raise click.UsageError("give either --worst or --best")
    if diff is not None:
        others = {
            "--worst": worst,
            "--best": best,
            "--group": group,
            "--grep": grep,
            "--dropped": dropped,
            "--errors": errors,
            "--refused": refused,
        }
        for option, value in {"--step": step is not None, **others}.items():
            if value:
                raise click.UsageError(
                    f"{option} does not go with --diff, which takes --sample, --training and --evaluation"
                )
    from tenyson.cli.runs.find import open_run

    with open_run(run, db_url, output_dir) as (store, name):
        if diff is not None:
            before, after = (
                _by_sample(store.rollouts(name, step=at, sample=sample, training=training, limit=None))
                for at in diff
            )
            _show_diff(before, after, diff, limit, full, as_json)
            return
        chosen: dict[str, Any] = {
            "step": step,
            "group": group,
            "sample": sample,
            "training": training,
            "dropped": dropped or None,
            "errors": errors or None,
            "refused": refused or None,
            "worst": True if worst else False if best else None,
        }
        most = worst or best or limit
        known: int | None
        if grep:
            matching = _matching(store.rollout_stream(name, CHUNK, **chosen), grep)
            rows = list(islice(matching, most))
            known = len(rows) if next(matching, None) is None else None
        else:
            rows = store.rollouts(name, **chosen, limit=most)
            known = len(rows) if len(rows) < most else store.count_rollouts(name, **chosen)
        unscored = 0 if chosen["worst"] is None else _unscored(store, name, chosen)
        if errors:
            _add_errors(store, rows)
            if not as_json:
                _show_counts(store.error_counts(name))
        if refused:
            _add_calls(store, rows)
            if not as_json:
                _show_calls(store.call_counts(name))
        hint = None if rows else _what_there_is(store, name, chosen)
        if not rows and not as_json:
            raise TelemetryError(f"run {name} has no such rollouts", next_step=hint)
        if hint:
            click.echo(hint, err=True)
    if as_json:
        print_json(rows)
    else:
        for row in rows:
            click.echo(describe(row, full=full))
    rest = "--limit N shows more" if known is None else f"--limit {known} shows all"
    if chosen["worst"] is None:
        say_cut(len(rows), known, "rollouts", rest)
    if unscored:
        click.echo(f"{unscored} rollouts without a reward are left out", err=True)


def _add_errors(store: Store, rows: list[dict[str, Any]]) -> None:
    """Put what broke each rollout into its row, in order."""
    found: dict[int, list[Row]] = {row["id"]: [] for row in rows}
    for error in store.rollout_errors(list(found)):
        found[error["rollout"]].append({name: value for name, value in error.items() if name != "rollout"})
    for row in rows:
        row["errors"] = found[row["id"]]


def _show_counts(counts: Iterable[Row]) -> None:
    for one in counts:
        ended = [f"{one[name]} {words}" for name, words in _ENDS.items() if one[name]]
        click.echo(
            safe(f"{one['source']} {one['error_class']}: {', '.join(ended)}, such as: {one['message']}")
        )
    click.echo()


_ENDS = {"failed": "failed", "retried": "tried again"}
"""What a count means."""


def _add_calls(store: Store, rows: list[dict[str, Any]]) -> None:
    """Put the calls of tools of each rollout into its row, in order."""
    found: dict[int, list[Row]] = {row["id"]: [] for row in rows}
    for call in store.tool_calls(list(found)):
        found[call["rollout"]].append({name: value for name, value in call.items() if name != "rollout"})
    for row in rows:
        row["calls"] = found[row["id"]]


def _show_calls(counts: Iterable[Row]) -> None:
    for one in counts:
        cause = f", such as: {one['cause']}" if one["cause"] else ""
        click.echo(safe(f"{one['tool'] or '-'} {one['outcome']}: {one['calls']}{cause}"))
    click.echo()


def _unscored(store: Store, run: str, chosen: Mapping[str, Any]) -> int:
    """Rollouts that have no place among the best and worst."""
    every = store.count_rollouts(run, **{**chosen, "worst": None})
    return every - store.count_rollouts(run, **chosen)


def _what_there_is(store: Store, run: str, chosen: Mapping[str, Any]) -> str | None:
    """The nearest sample or group, or the steps, where such a one was asked for and there is none."""
    for option, column in (("sample", "sample_id"), ("group", "group_id"), ("step", "step")):
        asked = chosen[option]
        names = [] if asked is None else store.rollout_names(run, column)
        if names and asked not in names:
            if option == "step":
                return f"It has rollouts of {len(names)} steps, from {names[0]} to {names[-1]}."
            return f"No {option} is called {asked!r}: {known_names(asked, list(map(str, names)))}"
    return None


def describe(row: Row, *, full: bool = False) -> str:
    """One rollout for a person."""
    kind = "training" if row["training"] else "evaluation"
    truncated = ", cut off" if row["truncated"] else ""
    head = f"step {row['step']}  {row['sample_id']}  {kind}  {row['tokens']} tokens, {row['finish_reason']}{truncated}"
    if calls := row["tool_calls"]:
        head += f", {calls} calls of tools ({row['tool_calls_refused']} refused)"
    numbers = f"reward {number(row['reward'])}"
    parts = "  ".join(f"{name} {number(value) or '-'}" for name, value in row["components"].items())
    if parts:
        numbers += f"  ({parts})"
    if row["advantage"] is not None:
        numbers += f"  advantage {number(row['advantage'])}"
    if row["dropped"]:
        numbers += f"  not trained on: {row['dropped']}"
    return "\n".join(
        (
            click.style(safe(head), bold=True),
            safe(numbers),
            *(_error(one) for one in row.get("errors", ())),
            *(_call(one) for one in row.get("calls", ()) if one["cause"]),
            click.style("prompt", dim=True),
            _indented(row["prompt"], full),
            click.style("completion", dim=True),
            _indented(row["completion"], full),
            "",
        )
    )


def _error(error: Row) -> str:
    ended = "tried again after" if error["retried"] else "failed with"
    line = click.style(safe(f"{ended} {error['error_class']}: {error['message']}"), fg="yellow")
    return f"{line}\n{_indented(error['traceback'], full=True)}" if error["traceback"] else line


def _call(call: Row) -> str:
    what = f"turn {call['turn']}: {call['tool'] or 'a call'} {call['outcome']}: {call['cause']}"
    return click.style(safe(what), fg="yellow")


def _indented(text: str, full: bool) -> str:
    text = safe(text)
    if not full and len(text) > 2 * CUT:
        text = f"{text[:CUT]}\n[... {len(text) - 2 * CUT} characters; --full shows them ...]\n{text[-CUT:]}"
    return "\n".join(f"  {line}" for line in text.split("\n"))


def _matching(chunks: Iterable[list[dict[str, Any]]], pattern: str) -> Iterator[dict[str, Any]]:
    try:
        search = re.compile(pattern).search
    except re.error as error:
        raise click.BadParameter(
            f"{pattern!r} is no regular expression: {error}", param_hint="--grep"
        ) from None
    for rows in chunks:
        yield from (row for row in rows if search(row["completion"]) or search(row["prompt"]))


def _show_diff(
    before: Mapping[str, Row],
    after: Mapping[str, Row],
    steps: tuple[int, int],
    limit: int,
    full: bool,
    as_json: bool,
) -> None:
    """By sample, at two steps."""
    shared = [name for name in before if name in after]
    if not shared:
        raise TelemetryError(
            f"no sample was played at both steps {steps[0]} and {steps[1]}",
            next_step="Look at `tenyson rollouts RUN --sample ID` for the steps at which it was.",
        )
    pairs = [(before[name], after[name]) for name in shared[:limit]]
    say_cut(len(pairs), len(shared), "samples that both steps have", f"--limit {len(shared)} shows all")
    if alone := len(before.keys() ^ after.keys()):
        click.echo(f"{alone} samples were played at one of the steps only", err=True)
    if as_json:
        print_json([{"before": first, "after": second} for first, second in pairs])
        return
    for first, second in pairs:
        title = f"{first['sample_id']}  reward {number(first['reward'])} -> {number(second['reward'])}"
        click.secho(safe(title), bold=True)
        click.echo(_indented(first["prompt"], full))
        lines = difflib.unified_diff(
            safe(first["completion"]).split("\n"),
            safe(second["completion"]).split("\n"),
            f"step {steps[0]}",
            f"step {steps[1]}",
            lineterm="",
        )
        colours = {"+": "green", "-": "red"}
        for line in lines:
            click.secho(f"  {line}", fg=colours.get(line[:1]))
        click.echo()


def _by_sample(rows: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rollout with the median reward of each sample."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["sample_id"], []).append(row)
    return {
        name: sorted(group, key=lambda row: row["reward"] or 0.0)[len(group) // 2]
        for name, group in sorted(groups.items())
    }
