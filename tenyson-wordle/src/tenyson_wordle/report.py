"""The Wordle section of a report: how far to trust the numbers, guesses needed, and the same secrets at each stage."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tenyson.reporting.chart import histograms
from tenyson.reporting.markdown import table
from tenyson_wordle.game.rules import SOLVED, TURNS

if TYPE_CHECKING:
    from tenyson.reporting.context import ReportContext
    from tenyson.reporting.stage import Stage

SECRETS = 4
"""Secrets whose games are shown."""
SOLVED_SECRETS = 200
"""Secrets that the solver plays for comparison, at most."""
TILES = {"G": "🟩", "Y": "🟨", ".": "⬛"}
ILLEGAL = "🟥"


def wordle(context: ReportContext) -> str:
    """Markdown: train against held-out secrets, guesses needed beside a solver's, boards of the same secrets side by side."""
    stages = [stage for stage in context.evaluations if stage.record.rollouts]
    return "\n\n".join(filter(None, [_generalisation(context), _guesses(context, stages), _games(stages)]))


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


def _guesses(context: ReportContext, stages: Sequence[Stage]) -> str:
    """How many guesses the games took, as shares of each evaluation's games, beside a solver on the same secrets."""
    if not stages:
        return ""
    shares = {
        stage.label: _shares([_needed(rollout["info"]) for rollout in stage.record.rollouts])
        for stage in stages
    }
    solved = _solver_games(stages[-1])
    if solved:
        shares["solver"] = _shares(solved)
    file = "wordle-guesses.svg"
    chart = histograms(shares, unit="% of games")
    (context.directory / file).write_text(chart, encoding="utf-8")
    header = ["Guesses", *shares]
    rows = [
        [name, *(f"{share[name]:.1f}%" for share in shares.values())] for name in next(iter(shares.values()))
    ]
    note = (
        f"The solver guesses any word that agrees with all feedback; it played {len(solved)} of the same secrets, once each."
        if solved
        else "No solver played along: the word list of these games is not known here."
    )
    return f"### Guesses needed\n\n![Guesses needed]({file})\n\n{table(header, rows)}\n\n{note}"


def _needed(info: Mapping[str, Any]) -> str:
    turns = info["turns"]
    won = bool(turns) and turns[-1]["marks"] == SOLVED
    return str(len(turns)) if won else "lost"


def _shares(games: Sequence[str]) -> dict[str, float]:
    names = [*map(str, range(1, TURNS + 1)), "lost"]
    return {name: 100 * games.count(name) / len(games) for name in names}


def _solver_games(stage: Stage) -> list[str]:
    """What RandomConsistentSolver needs on the secrets of an evaluation: at most SOLVED_SECRETS, spread evenly."""
    import yaml

    from tenyson.errors import TenysonError
    from tenyson_wordle.game.solver import RandomConsistentSolver, play
    from tenyson_wordle.task import WordleTask

    try:
        args = ((yaml.safe_load(stage.config or "") or {}).get("task") or {}).get("args") or {}
        lexicon = WordleTask(**args).lexicon
    except (TenysonError, TypeError):
        return []
    secrets = sorted({str(rollout["info"]["secret"]) for rollout in stage.record.rollouts})
    chosen = secrets[:: -(-len(secrets) // SOLVED_SECRETS)]
    if not set(chosen) <= set(lexicon.answers):
        return []
    solver, draw = RandomConsistentSolver(lexicon), random.Random(0)
    games = [play(solver, secret, draw) for secret in chosen]
    return [str(len(game.turns)) if game.turns[-1].marks == SOLVED else "lost" for game in games]


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
        # What was guessed may be any text: only letters go into the table.
        guess = "".join(filter(str.isalnum, str(turn["guess"] or "")))[:12]
        lines.append(f"{tiles} {guess or '(no guess)'}")
    return "<br>".join(lines) or "(no reply)"
