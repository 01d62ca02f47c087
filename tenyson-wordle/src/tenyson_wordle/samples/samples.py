"""Samples: the prompts of RL and evaluation, made of secrets and, in mid-play, of a given board."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

from tenyson.tasks import Message, Sample
from tenyson_wordle.game.board import to_data
from tenyson_wordle.game.knowledge import knowledge_of
from tenyson_wordle.game.rules import TURNS, Game
from tenyson_wordle.game.words import Lexicon
from tenyson_wordle.rollouts.prompt import ONE_GUESS_RULE, Style
from tenyson_wordle.samples.sft import render

TURNS_TO_PLAY = 2
"""Turns that a game begun in mid-play leaves at least."""


def whole_game(secret: str, opening: Sequence[Message]) -> Sample:
    """A game from its beginning."""
    return Sample(id=f"wordle/{secret}", prompt=opening, data={"secret": secret, "given": []})


def mid_play(
    secret: str, lexicon: Lexicon, style: Style, opening: Sequence[Message], at_most: int, *, hard: bool
) -> Sample:
    """A game on whose board at most `at_most` candidates are left, or as few as four random guesses leave.

    The board follows from the secret and `at_most` alone.
    """
    game = given_game(secret, lexicon, at_most, hard=hard)
    return Sample(
        id=f"wordle/{secret}/from-{at_most}",
        prompt=[*opening, *render(game, style, with_rationale=False)],
        data={"secret": secret, "given": to_data(game.turns)},
    )


def one_guess(secret: str, lexicon: Lexicon, style: Style, opening: Sequence[Message]) -> Sample:
    """The single-turn variant: one prompt with a board; the reply is one guess that should agree with it."""
    rng = random.Random(f"wordle-one:{secret}")
    game = given_game(secret, lexicon, rng.choice((1, 4, 16, 64)), hard=False)
    system = [message for message in opening if message["role"] == "system"]
    boards = [style.answer(turn, TURNS - place - 1) for place, turn in enumerate(game.turns)]
    asked = "\n\n".join([*boards, ONE_GUESS_RULE])
    return Sample(
        id=f"wordle-constraint/{secret}",
        prompt=[*system, {"role": "user", "content": asked}],
        data={"secret": secret, "given": to_data(game.turns)},
    )


def given_game(secret: str, lexicon: Lexicon, at_most: int, *, hard: bool) -> Game:
    """A game that random answers, consistent from the second guess on, have brought to `at_most` candidates."""
    rng = random.Random(f"wordle-given:{secret}:{at_most}")
    knowledge = knowledge_of(lexicon.answers)
    game = Game(secret, lexicon.allowed, hard=hard)
    candidates = knowledge.everything
    while candidates.bit_count() > max(1, at_most) and len(game.turns) < TURNS - TURNS_TO_PLAY:
        others = [word for word in knowledge.words(candidates) if word != secret]
        turn = game.play(rng.choice(others))
        candidates = knowledge.after(candidates, turn.guess or "", turn.marks or "")
    return game


def rl_samples(
    secrets: Sequence[str],
    lexicon: Lexicon,
    style: Style,
    opening: Sequence[Message],
    starts: Sequence[int],
    *,
    hard: bool,
    seed: int,
) -> Iterator[Sample]:
    """Each secret once for each start of the curriculum, shuffled by `seed`. A start of 0 is a whole game."""
    tasks = [(secret, start) for secret in secrets for start in starts or (0,)]
    random.Random(f"wordle-rl:{seed}").shuffle(tasks)
    for secret, start in tasks:
        if start:
            yield mid_play(secret, lexicon, style, opening, start, hard=hard)
        else:
            yield whole_game(secret, opening)
