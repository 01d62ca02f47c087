"""Metrics: what a set of games says, each number with its count and its 95% interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from tenyson.tasks import Metric
from tenyson_wordle.game.board import Board
from tenyson_wordle.game.knowledge import Knowledge
from tenyson_wordle.game.words import Lexicon
from tenyson_wordle.rollouts.rewards import agrees

SLICES = ("train_secrets", "held_out_secrets", "duplicate_letters", "traps")
BITS_GAMES = 200
"""Games on which information is measured; comparing with the solver takes time."""
BITS_POOL = 300
"""Guesses that the solver compares in one state."""
PASS_AT = (2, 4, 8, 16, 32)


def of_games(games: Sequence[tuple[str, Board]], lexicon: Lexicon, knowledge: Knowledge) -> dict[str, Metric]:
    """Metrics of finished games. `games`: the sample's id and the board.

    `guesses` counts a loss as seven; `win_rate/...` are slices. Where there is nothing to measure, such as the
    information in guesses that are all illegal, the value is NaN with a count of 0. The intervals of shares are Wilson's and take games as independent of each
    other; games on one secret are not quite.
    """
    boards = [board for _, board in games]
    found = {
        "win_rate": _share([board.won for board in boards]),
        "guesses": Metric.mean([board.guesses for board in boards]),
        **of_turns(boards),
    }
    for name in SLICES:
        won = [board.won for board in boards if name in lexicon.slices(board.secret)]
        if won:
            found[f"win_rate/{name}"] = _share(won)
    found.update(_information(boards, knowledge))
    found.update(pass_at(games))
    return found


def of_guesses(boards: Sequence[Board]) -> dict[str, Metric]:
    """Metrics of the single-turn variant."""
    return {"win_rate": _share([board.won for board in boards]), **of_turns(boards)}


def of_turns(boards: Sequence[Board]) -> dict[str, Metric]:
    """Shares over single turns: of legal ones, of well-formed ones, and of those that agree with the marks."""
    turns = [turn for board in boards for turn in board.played]
    agreeing = [
        agrees(board, place)
        for board in boards
        for place in range(len(board.given), len(board.turns))
        if any(turn.marks for turn in board.turns[:place])
    ]
    return {
        "legal_guesses": _share([turn.illegal is None for turn in turns]),
        "format_legal": _share([turn.illegal not in ("format", "several") for turn in turns]),
        "constraint_satisfaction": _share(agreeing),
    }


def pass_at(games: Sequence[tuple[str, Board]]) -> dict[str, Metric]:
    """pass@k, the chance that one of k games on a secret is won, without bias from n >= k games.

    Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code", equation 1.
    """
    groups: dict[str, list[bool]] = {}
    for sample_id, board in games:
        groups.setdefault(sample_id, []).append(board.won)
    fewest = min((len(group) for group in groups.values()), default=0)
    return {
        f"pass@{k}": Metric.mean(
            [
                1 - math.comb(len(group) - sum(group), k) / math.comb(len(group), k)
                for group in groups.values()
            ]
        )
        for k in PASS_AT
        if k <= fewest
    }


def _information(boards: Sequence[Board], knowledge: Knowledge) -> Mapping[str, Metric]:
    """Expected bits of the legal guesses, and of the best guess in the same states, where more than one word is left.

    The best is taken among at most `BITS_POOL` guesses: the candidates first, then answers evenly over the list.
    """
    every = max(1, len(boards) // BITS_GAMES)
    best: dict[int, float] = {}
    own, solver = [], []
    spread = knowledge.answers[:: max(1, len(knowledge.answers) // BITS_POOL)]
    for board in boards[::every][:BITS_GAMES]:
        candidates = knowledge.after_turns(board.given)
        for turn in board.played:
            if candidates.bit_count() < 2:
                break
            if turn.guess is None or turn.marks is None:
                continue
            if candidates not in best:
                possible = knowledge.words(candidates)
                pool = possible if len(possible) <= BITS_POOL else []
                pool = list(dict.fromkeys([*pool, *spread]))[:BITS_POOL]
                best[candidates] = max(knowledge.entropy(word, candidates) for word in pool)
            bits = knowledge.entropy(turn.guess, candidates)
            own.append(bits)
            solver.append(max(bits, best[candidates]))
            candidates = knowledge.after(candidates, turn.guess, turn.marks)
    return {"bits_per_guess": Metric.mean(own), "best_bits_per_guess": Metric.mean(solver)}


def _share(outcomes: Sequence[bool]) -> Metric:
    return Metric.proportion(sum(outcomes), len(outcomes))
