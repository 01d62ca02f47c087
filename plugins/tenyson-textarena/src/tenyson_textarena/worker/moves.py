"""Moves: what an opponent may try. textarena has no list of legal moves, so each is tried on a copy of the game."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import Any

TRIES = 400
"""Moves that are tried at most."""
_BRACKETS = re.compile(r"\[[^\[\]\n]{1,40}\]")


def candidates(game: Any, shown: Sequence[str]) -> list[str]:
    """Moves to try: those of a game that is known, else whatever stands in brackets in the texts that the player was shown.

    Args:
        shown: all texts, oldest first; the latest lists what is possible now.
    """
    known = _KNOWN.get(type(game).__name__)
    if known is not None:
        return list(known(game))
    found = [move for text in reversed(shown) for move in _BRACKETS.findall(text)]
    return list(dict.fromkeys(found))


def legal(game: Any, move: str) -> bool:
    """Whether the game takes a move: it is made on a copy, which shares nothing with the game."""
    seat = game.state.current_player_id
    trial = copy.deepcopy(game)
    python = random.getstate()
    try:
        trial.step(move)
    except Exception:
        return False
    finally:
        random.setstate(python)
    state = trial.state
    refused = getattr(state, "error_count", 0) or state.game_info.get(seat, {}).get("invalid_move")
    eliminated = seat in getattr(state, "elimination_order", ()) and state.rewards is None
    return not refused and not eliminated


def _columns(game: Any) -> Iterable[str]:
    return (f"[col {column}]" for column in range(game.num_cols))


def _piles(game: Any) -> Iterable[str]:
    for pile, size in enumerate(game.state.game_state["piles"]):
        yield from (f"[{pile} {number}]" for number in range(1, size + 1))


def _squares(game: Any) -> Iterable[str]:
    size = game.board_size
    files = "abcdefghijklmnopqrstuvwxyz"[:size]
    squares = [f"{file}{rank}" for file in files for rank in range(1, size + 1)]
    near = [
        (one, other)
        for one, other in product(squares, squares)
        if abs(ord(one[0]) - ord(other[0])) <= 1 and abs(int(one[1:]) - int(other[1:])) == 1
    ]
    return (f"[{one}{other}]" for one, other in near)


_KNOWN: dict[str, Callable[[Any], Iterable[str]]] = {
    "BreakthroughEnv": _squares,
    "ConnectFourEnv": _columns,
    "NimEnv": _piles,
}
