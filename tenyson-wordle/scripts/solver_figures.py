"""Plays every secret of the shipped lists with every solver and prints the table of docs/reference/wordle.md.

`python solver_figures.py [--games N] [--lists tiny scowl]`; the entropy solver on the long list takes minutes.
"""

from __future__ import annotations

import argparse
import random
import time
from collections import Counter

from tenyson.tasks import Metric
from tenyson_wordle.game.rules import TURNS
from tenyson_wordle.game.solver import (
    SOLVERS,
    EntropySolver,
    ExactSolver,
    RandomConsistentSolver,
    RandomSolver,
    Solver,
    play,
)
from tenyson_wordle.game.words import load


def figures(solver: Solver, repeats: int) -> str:
    """One row of the table."""
    started = time.perf_counter()
    rng = random.Random(0)
    games = [play(solver, secret, rng) for secret in solver.lexicon.answers for _ in range(repeats)]
    won = Metric.proportion(sum(game.won for game in games), len(games))
    guesses = Metric.mean([len(game.turns) if game.won else TURNS + 1 for game in games])
    spread = Counter(len(game.turns) if game.won else TURNS + 1 for game in games)
    counts = " / ".join(str(spread[n]) for n in range(1, TURNS + 2))
    return (
        f"| {solver.lexicon.name} | {solver.name} | {won.n:,} | {100 * won.value:.2f}% [{100 * won.low:.2f}, "
        f"{100 * won.high:.2f}] | {guesses.value:.4f} | {counts} | {time.perf_counter() - started:.0f} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--games", type=int, default=20, help="games on each secret by solvers that draw lots"
    )
    parser.add_argument("--lists", nargs="+", default=["tiny", "scowl"], help="shipped lists, or paths")
    parser.add_argument("--solvers", nargs="+", default=list(SOLVERS), choices=list(SOLVERS))
    options = parser.parse_args()
    print("| list | solver | games | won, 95% interval | mean guesses | won in 1 / ... / 6 / lost | s |")  # noqa: T201
    print("| --- | --- | --- | --- | --- | --- | --- |")  # noqa: T201
    for name in options.lists:
        lexicon = load(name)
        for kind in (RandomSolver, RandomConsistentSolver, EntropySolver, ExactSolver):
            too_long = kind is ExactSolver and len(lexicon.answers) > ExactSolver.largest
            if kind.name in options.solvers and not too_long:
                repeats = options.games if kind in (RandomSolver, RandomConsistentSolver) else 1
                print(figures(kind(lexicon), repeats), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
