"""The conversation: how the rules, guesses and feedback read, and how a guess is found in a reply.

Three styles. `chat` is for instruction models: the rules as a system prompt, a guess as `<guess>crane</guess>`.
`spelled` is the same with `<guess>c r a n e</guess>`: a small model sees its letters one by one and can count them.
`compact` is for the tiny character model: "?", then five letters against five marks, "!!!!!" for an illegal guess.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from tenyson.tasks import Message
from tenyson_wordle.game.rules import LENGTH, TURNS, Illegal, Turn

StyleName = Literal["chat", "spelled", "compact"]

RULES = """\
You play Wordle. Find a secret English word of five letters in at most six guesses.
After each guess you see one mark for each of its letters:
G: the letter is right and in the right place.
Y: the letter is in the word, but in another place.
.: the letter is not in the word, or not as often as you guessed it.
A guess that is not a common English word of five letters uses up its turn.
End every reply with exactly one guess, written like this: """

HARD_RULE = (
    "Hard mode: keep every G letter in its place, and use every letter that got a Y in all later guesses."
)
ONE_GUESS_RULE = "Your guess must agree with all the marks that you see."


@dataclass(frozen=True)
class Parsed:
    """What a reply says: a guess, or why there is none."""

    guess: str | None
    illegal: Illegal | None = None
    detail: str = ""


class Style(Protocol):
    """How a game reads."""

    def opening(self, *, hard: bool, suffix: str) -> list[Message]:
        """The prompt before the first guess."""

    def reply(self, guess: str, rationale: str = "") -> str:
        """A well-formed reply."""

    def answer(self, turn: Turn, turns_left: int) -> str:
        """What the player is told after a turn."""

    def parse(self, reply: str) -> Parsed:
        """The guess in a reply. Never raises."""


class Chat:
    """For instruction models."""

    _tag = re.compile(r"<guess>([^<>]*)</guess>", re.IGNORECASE)

    def opening(self, *, hard: bool, suffix: str) -> list[Message]:
        """System prompt with the rules, then the first call for a guess."""
        rules = "\n".join(filter(None, [RULES + self.reply("crane"), HARD_RULE if hard else "", suffix]))
        return [
            {"role": "system", "content": rules},
            {"role": "user", "content": f"Make your first guess. You have {TURNS} guesses."},
        ]

    def reply(self, guess: str, rationale: str = "") -> str:
        """The rationale, if any, on its own lines before the tag."""
        return f"{rationale}\n<guess>{guess}</guess>" if rationale else f"<guess>{guess}</guess>"

    def answer(self, turn: Turn, turns_left: int) -> str:
        """Letters over marks, spaced, so that tokenizers keep them apart."""
        left = f"You have {turns_left} guess{'es' if turns_left != 1 else ''} left."
        if turn.marks is None or turn.guess is None:
            return f"That guess did not count: {turn.detail}.\n{left}"
        return f"{' '.join(turn.guess)}\n{' '.join(turn.marks)}\n{left}"

    def parse(self, reply: str) -> Parsed:
        """The last complete tag outside of thinking; different guesses in one reply make it illegal."""
        found = [self._word(match.strip().lower()) for match in self._tag.findall(spoken(reply))]
        if not found:
            return Parsed(None, "format", "the reply has no <guess>word</guess>")
        if len(set(found)) > 1:
            return Parsed(None, "several", "the reply has several different guesses")
        if not re.fullmatch(f"[a-z]{{{LENGTH}}}", found[-1]):
            return Parsed(None, "format", f"a guess is {LENGTH} letters a-z")
        return Parsed(found[-1])

    def _word(self, text: str) -> str:
        return text


class Spelled(Chat):
    """For small instruction models: the letters of a guess stand apart, as they do in the answers."""

    def reply(self, guess: str, rationale: str = "") -> str:
        """The rationale, if any, on its own lines before the tag."""
        return super().reply(" ".join(guess), rationale)

    def _word(self, text: str) -> str:
        return text.replace(" ", "")


class Compact:
    """For the tiny character model."""

    ILLEGAL = "!" * LENGTH

    def opening(self, *, hard: bool, suffix: str) -> list[Message]:  # noqa: ARG002
        """A question mark."""
        return [{"role": "user", "content": "?"}]

    def reply(self, guess: str, rationale: str = "") -> str:  # noqa: ARG002
        """The five letters."""
        return guess

    def answer(self, turn: Turn, turns_left: int) -> str:  # noqa: ARG002
        """The five marks."""
        return turn.marks or self.ILLEGAL

    def parse(self, reply: str) -> Parsed:
        """The reply is the guess."""
        text = reply.strip()
        if re.fullmatch(f"[a-z]{{{LENGTH}}}", text):
            return Parsed(text)
        return Parsed(None, "format", f"a guess is {LENGTH} letters a-z")


def spoken(reply: str) -> str:
    """A reply without its thinking: whole `<think>` blocks, one left open, and one opened by the prompt."""
    reply = re.sub(r"<think>.*?</think>", "", reply, flags=re.DOTALL | re.IGNORECASE)
    reply = re.split("</think>", reply, flags=re.IGNORECASE)[-1]
    return re.split("<think>", reply, flags=re.IGNORECASE)[0]


def rationale(turns: Sequence[Turn]) -> str:
    """What the feedback so far says, in three short facts that anyone can check against the board."""
    fixed = ["_"] * LENGTH
    present: set[str] = set()
    absent: set[str] = set()
    for turn in turns:
        if turn.guess is None or turn.marks is None:
            continue
        for place, (letter, mark) in enumerate(zip(turn.guess, turn.marks, strict=True)):
            if mark == "G":
                fixed[place] = letter
            if mark != ".":
                present.add(letter)
            else:
                absent.add(letter)
    absent -= present
    facts = [f"In place: {' '.join(fixed)}."]
    if present - set(fixed):
        facts.append(f"Somewhere: {' '.join(sorted(present - set(fixed)))}.")
    if absent:
        facts.append(f"Not in it: {' '.join(sorted(absent))}.")
    return " ".join(facts) if present or absent else ""


STYLES: dict[str, Style] = {"chat": Chat(), "spelled": Spelled(), "compact": Compact()}
