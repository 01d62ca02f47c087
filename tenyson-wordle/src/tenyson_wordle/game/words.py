"""Word lists: which words can be secrets, which may be guessed, and which secrets are held out of training."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Literal

from tenyson.errors import TaskError
from tenyson_wordle.game.rules import LENGTH

Split = Literal["all", "train", "held_out"]
SHIPPED = ("scowl", "tiny")
TRAP_FAMILY = 6
"""Words that agree in four of five places, such as _IGHT, from which on they are a trap: six turns cannot try them all."""


def digest(words: Sequence[str]) -> str:
    """SHA-256 of the words, one a line, in hexadecimal."""
    return hashlib.sha256("".join(f"{word}\n" for word in words).encode()).hexdigest()


def is_held_out(word: str, every: int) -> bool:
    """Whether a secret is kept out of training: one word in `every`, by its hash, whatever list it stands in."""
    return int(hashlib.sha256(word.encode()).hexdigest()[:8], 16) % every == 0


@dataclass(frozen=True)
class Lexicon:
    """The words of a game."""

    name: str
    answers: tuple[str, ...]
    """Possible secrets, sorted."""
    allowed: frozenset[str] = field(repr=False)
    """Words that may be guessed; all answers are among them."""
    held_out_every: int = 10

    def secrets(self, split: Split) -> list[str]:
        """Secrets of a split in an order that is fixed but not alphabetical, so that any first part is a fair draw."""
        chosen = [w for w in self.answers if split == "all" or self.is_held_out(w) == (split == "held_out")]
        return sorted(chosen, key=lambda word: hashlib.sha256(f"order:{word}".encode()).digest())

    def is_held_out(self, word: str) -> bool:
        """Whether `word` is never a secret in training."""
        return is_held_out(word, self.held_out_every)

    @cached_property
    def guesses(self) -> tuple[str, ...]:
        """`allowed`, sorted."""
        return tuple(sorted(self.allowed))

    @cached_property
    def traps(self) -> frozenset[str]:
        """Answers with at least `TRAP_FAMILY` - 1 others that differ in one and the same place."""
        families = Counter(pattern for word in self.answers for pattern in _patterns(word))
        return frozenset(w for w in self.answers if any(families[p] >= TRAP_FAMILY for p in _patterns(w)))

    def slices(self, word: str) -> list[str]:
        """The slices of results that a secret belongs to."""
        names = ["held_out_secrets" if self.is_held_out(word) else "train_secrets"]
        if len(set(word)) < LENGTH:
            names.append("duplicate_letters")
        if word in self.traps:
            names.append("traps")
        return names

    @cached_property
    def provenance(self) -> dict[str, str]:
        """Name and hashes, as stored with every result."""
        return {
            "words": self.name,
            "answers": str(len(self.answers)),
            "answers_sha256": digest(self.answers),
            "allowed": str(len(self.allowed)),
            "allowed_sha256": digest(self.guesses),
            "held_out_every": str(self.held_out_every),
        }


def load(words: str = "scowl", allowed: str | None = None, held_out_every: int = 10) -> Lexicon:
    """The shipped list "scowl" or "tiny", or a user's own file with one word a line.

    `allowed` is a file of further words that may be guessed; without it, of a user's own list only the answers may.

    Raises:
        TaskError: a file is missing or not text, or a line is no five-letter word; names the line.
    """
    if words in SHIPPED:
        folder = resources.files("tenyson_wordle") / "data"
        answers = (folder / ("answers.txt" if words == "scowl" else "tiny.txt")).read_text("ascii").split()
        more = (folder / "allowed.txt").read_text("ascii").split() if words == "scowl" else []
    else:
        answers, more = _read(words), []
    if allowed is not None:
        more = _read(allowed)
    lexicon = Lexicon(words, tuple(sorted(answers)), frozenset(answers) | frozenset(more), held_out_every)
    for split in ("train", "held_out"):
        if not lexicon.secrets(split):
            raise TaskError(
                f"the split {split!r} of the {len(answers)} words in {words} is empty",
                next_step="Give a longer list, or another task.args.held_out_every.",
            )
    return lexicon


def _read(path: str) -> list[str]:
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(
            f"cannot read the word list: {getattr(error, 'strerror', None) or error}",
            place=path,
            next_step=f"Give the path of a text file with one word a line, or one of {', '.join(SHIPPED)}.",
        ) from error
    found: dict[str, None] = {}
    for number, line in enumerate(lines, start=1):
        word = line.strip().lower()
        if not word or word.startswith("#"):
            continue
        if not re.fullmatch(f"[a-z]{{{LENGTH}}}", word):
            raise TaskError(f"{word!r} is not a word of {LENGTH} letters a-z", place=f"{path}:{number}")
        found[word] = None
    return list(found)


def _patterns(word: str) -> list[str]:
    return [f"{word[:place]}_{word[place + 1 :]}" for place in range(LENGTH)]
