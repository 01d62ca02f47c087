"""SFT data: games of a solver, as conversations to imitate.

Some games begin with poor turns, so that the model meets states that its own mistakes will bring about. Those
turns stand in the prompt, where no loss falls on them: recovering is taught, blundering is not.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tenyson.tasks import Message, Sample
from tenyson_wordle.game.board import to_data
from tenyson_wordle.game.rules import TURNS, Game
from tenyson_wordle.game.solver import Solver
from tenyson_wordle.rollouts.prompt import Style, rationale

ATTEMPTS = 50
"""Games tried on one secret before it is passed over; only won games are imitated."""
POOR_TURNS = 3
OPENERS = 24
"""First guesses of the entropy solver are drawn from its so many best, for variety."""


def samples(
    solver: Solver,
    secrets: Sequence[str],
    style: Style,
    opening: Sequence[Message],
    *,
    games: int,
    noise: float,
    with_rationale: bool,
    hard: bool,
    seed: str,
) -> Iterator[Sample]:
    """Won games on secrets drawn evenly from `secrets`; the same for the same `seed`."""
    rng = random.Random(f"wordle-sft:{seed}")
    openers = _openers(solver)
    for number in range(games):
        secret = rng.choice(secrets)
        for _ in range(ATTEMPTS):
            game = Game(secret, solver.lexicon.allowed, hard=hard)
            poor = rng.randint(1, POOR_TURNS) if rng.random() < noise else 0
            blunder(game, poor, solver.lexicon.guesses, rng)
            if finish(game, solver, openers, rng):
                conversation = render(game, style, with_rationale=with_rationale)
                cut = 2 * poor
                yield Sample(
                    id=f"wordle-sft/{seed}/{number}",
                    prompt=[*opening, *conversation[:cut]],
                    completion=conversation[cut:],
                    data={"secret": secret, "given": to_data(game.turns[:poor])},
                )
                break


def blunder(game: Game, turns: int, words: Sequence[str], rng: random.Random) -> None:
    """Play poor turns: any of `words` but the secret, or now and then letters that are no word."""
    while len(game.turns) < turns:
        guess = rng.choice(words)
        if rng.random() < 0.2:
            guess = "".join(rng.sample(guess, len(guess)))
        if guess != game.secret:
            game.play(guess)


def finish(game: Game, solver: Solver, openers: Sequence[str], rng: random.Random) -> bool:
    """Let the solver play on to the end; whether it won without an illegal turn."""
    start = len(game.turns)
    candidates = solver.knowledge.after_turns(game.turns)
    while not game.over:
        left = TURNS - len(game.turns)
        first = openers and candidates == solver.knowledge.everything
        turn = game.play(rng.choice(openers) if first else solver.guess(candidates, left, rng))
        if turn.guess and turn.marks:
            candidates = solver.knowledge.after(candidates, turn.guess, turn.marks)
    return game.won and not any(turn.illegal for turn in game.turns[start:])


def render(game: Game, style: Style, *, with_rationale: bool) -> list[Message]:
    """The turns as replies and answers; nothing follows the last reply."""
    messages: list[Message] = []
    for place, turn in enumerate(game.turns):
        why = rationale(game.turns[:place]) if with_rationale else ""
        messages.append({"role": "assistant", "content": style.reply(turn.guess or "", why)})
        messages.append({"role": "user", "content": style.answer(turn, TURNS - place - 1)})
    return messages[:-1] if game.over else messages


def _openers(solver: Solver) -> list[str]:
    if solver.name != "entropy":
        return []
    everything = solver.knowledge.everything
    ranked = sorted(solver.knowledge.answers, key=lambda word: -solver.knowledge.entropy(word, everything))
    return ranked[:OPENERS]
