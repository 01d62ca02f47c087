"""Rewards: what GRPO maximises. Only a win pays; everything else can at most make a win worth less.

Shaping components are recorded with weight 0. They can be given weight, but together never as much as the
poorest win is worth, so that no rollout without a win outdoes one with a win by them alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from tenyson.tasks import Reward, Rollout
from tenyson_wordle.game.board import Board
from tenyson_wordle.game.knowledge import Knowledge
from tenyson_wordle.game.rules import LENGTH, TURNS, feedback

FREE_GUESSES = 3
WIN = 2.0
LATE = 0.2
"""What each guess after the third takes off a win."""
POOREST_WIN = WIN - LATE * (TURNS - FREE_GUESSES)
SHAPING = ("greens", "information", "format")

BoardOf = Callable[[Rollout], Board]


def win(board: Board, illegal_penalty: float) -> float:
    """2.0 less 0.2 for each turn after the third and `illegal_penalty` for each illegal one; never below 0.

    A loss is 0 whatever it looks like, so there is nothing to gain from greens on the last guess, from illegal
    turns or from ending early. Illegal turns count as turns: a malformed one does not escape the price of time.
    """
    if not board.won:
        return 0.0
    late = max(0, len(board.turns) - FREE_GUESSES)
    illegal = sum(turn.illegal is not None for turn in board.played)
    return max(0.0, WIN - LATE * late - illegal_penalty * illegal)


def constraint(board: Board) -> float:
    """1 for one legal guess that agrees with all marks on the board, else 0. Repeating an earlier guess is 0."""
    if not board.played:
        return 0.0
    return float(agrees(board, len(board.turns) - 1))


def greens(board: Board) -> float:
    """The best legal guess's share of greens; a maximum, so that repeating it earns nothing more."""
    return max((turn.marks.count("G") / LENGTH for turn in board.played if turn.marks), default=0.0)


def information(board: Board, knowledge: Knowledge) -> float:
    """The share of the uncertainty that the model's turns took away, from 0 to 1; a repeated guess adds nothing."""
    before = knowledge.after_turns(board.given).bit_count()
    after = knowledge.after_turns(board.turns).bit_count()
    if before <= 1 or after == 0:
        return float(board.won)
    return 1 - math.log2(after) / math.log2(before)


def well_formed(board: Board) -> float:
    """The share of the model's turns with exactly one five-letter guess."""
    if not board.played:
        return 0.0
    return sum(turn.illegal not in ("format", "several") for turn in board.played) / len(board.played)


def agrees(board: Board, place: int) -> bool:
    """Whether the turn at `place` is legal and would get all the earlier marks right if it were the secret."""
    turn = board.turns[place]
    if turn.guess is None or turn.marks is None:
        return False
    earlier = [t for t in board.turns[:place] if t.guess and t.marks]
    return all(feedback(t.guess, turn.guess) == t.marks for t in earlier if t.guess)


def components(
    board_of: BoardOf,
    knowledge: Knowledge,
    *,
    single_turn: bool,
    illegal_penalty: float,
    shaping: dict[str, float],
) -> Sequence[Reward]:
    """The named components: `win` (or `constraint` for the single-turn variant) first, then the shaping."""
    if single_turn:
        main = Reward("constraint", lambda rollout: constraint(board_of(rollout)))
    else:
        main = Reward("win", lambda rollout: win(board_of(rollout), illegal_penalty))
    return [
        main,
        Reward("greens", lambda rollout: greens(board_of(rollout)), shaping.get("greens", 0.0)),
        Reward("information", lambda r: information(board_of(r), knowledge), shaping.get("information", 0.0)),
        Reward("format", lambda rollout: well_formed(board_of(rollout)), shaping.get("format", 0.0)),
    ]
