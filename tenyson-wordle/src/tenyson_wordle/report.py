"""The Wordle section of a report: how far to trust the numbers, and the same secrets played at each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tenyson.reporting.context import ReportContext
    from tenyson.reporting.stage import Stage

SECRETS = 4
"""Secrets whose games are shown."""
TILES = {"G": "🟩", "Y": "🟨", ".": "⬛"}
ILLEGAL = "🟥"


def wordle(context: ReportContext) -> str:
    """Markdown: a remark on train and held-out secrets, and boards of the same secrets side by side."""
    stages = [stage for stage in context.evaluations if stage.record.rollouts]
    return "\n\n".join(filter(None, [_generalisation(context), _games(stages)]))


def _generalisation(context: ReportContext) -> str:
    last = context.evaluations[-1] if context.evaluations else None
    train = last.metrics.get("win_rate/train_secrets") if last else None
    held = last.metrics.get("win_rate/held_out_secrets") if last else None
    if train is None or held is None or last is None:
        return ""
    numbers = (
        f"After `{last.label}` the model wins {_percent(train)} of its games on secrets that SFT and RL drew from, and "
        f"{_percent(held)} on secrets kept out of both."
    )
    if held.high < train.low:
        return (
            f"### Learnt or memorised?\n\n{numbers} The intervals are apart: much of what was learnt is which words are "
            "secrets. The win rate over all secrets holds for this closed world; it says little about other words."
        )
    return f"### Learnt or memorised?\n\n{numbers} The intervals overlap: no memorising shows."


def _percent(metric: Any) -> str:
    return f"{100 * metric.value:.1f}% [{100 * metric.low:.1f}, {100 * metric.high:.1f}] of {metric.n}"


def _games(stages: Sequence[Stage]) -> str:
    first_games = [{r["sample_id"]: r["info"] for r in reversed(stage.record.rollouts)} for stage in stages]
    shared = (
        [key for key in first_games[0] if all(key in games for games in first_games)] if first_games else []
    )
    if not shared:
        return ""
    header = "| secret | " + " | ".join(stage.label for stage in stages) + " |"
    rows = [header, "| --- " * (len(stages) + 1) + "|"]
    for key in sorted(shared)[:: max(1, len(shared) // SECRETS)][:SECRETS]:
        boards = [_board(games[key]) for games in first_games]
        rows.append(f"| {first_games[0][key]['secret']} | " + " | ".join(boards) + " |")
    return "### The same secrets at each stage\n\nRed: an illegal guess.\n\n" + "\n".join(rows)


def _board(info: Mapping[str, Any]) -> str:
    lines = []
    for turn in info["turns"]:
        marks = turn["marks"]
        tiles = "".join(TILES[mark] for mark in marks) if marks else ILLEGAL * 5
        lines.append(f"{tiles} {turn['guess'] or '(no guess)'}")
    return "<br>".join(lines) or "(no reply)"
