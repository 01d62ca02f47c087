"""The reward `choice`: the reply picks the right one of lettered options."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from tenyson.errors import TaskError
from tenyson.rewards.reading.extraction import Extract, boxed, reply_of, tag
from tenyson.rewards.reading.normalize import normalize
from tenyson.rewards.reading.truth import Truth, answers_of, truth_of, unusable
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout

_ANSWER = re.compile(
    r"(?:\b(?:answer|choice|option|antwort|respuesta|réponse|resposta|risposta|ответ)\b|答案|答え|정답)[\"'*_ \t]{0,9}"
    r"(?:(?:is|would be|must be|ist|es|est|é|è)\b|[:=是为は은])(?:[*_ \t]{0,9}\b(?:option|choice)\b)?",
    re.IGNORECASE,
)
_DENIED = re.compile(
    r"[)\]*_` ]{0,5}(?:(?:is|was|seems|looks)\s{1,3})?(?:not|wrong|incorrect|false|isn['\u2019]t|wasn['\u2019]t|can['\u2019]t|cannot)\b",
    re.IGNORECASE,
)
_LATEX = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\{([^{}]{0,200})\}")


def choice(
    *,
    truth: Truth = "answer",
    letters: Sequence[str] = "ABCD",
    texts: Truth | None = None,
    extract: Extract | None = None,
    name: str = "choice",
    weight: float = 1.0,
) -> Reward:
    """1 where the reply picks the right option, 0 where it picks another, several or none.

    Args:
        truth: where the right option is: its letter, its place from 0 (as in MMLU), or its text if `texts` is given. A list
            holds several acceptable ones.
        letters: the names of the options.
        texts: where the options' texts are (as many as letters, or fewer). A reply may then name an option by its text.
        extract: where the answer is in the reply. By default: in the last `\\boxed{...}`, else in the last `<answer>`, else
            after the last "answer is" or "answer:", else all of a reply that begins with a letter or ends in one.

    Raises:
        TaskError: a letter is empty, or there twice.
    """
    options = [str(letter).strip().upper() for letter in letters]
    if not all(options) or len(set(options)) < len(options) or len(options) < 2:
        raise TaskError(
            f"the reward {name}: letters are {letters!r}; they must be two or more different ones",
            next_step='Write letters="ABCD".',
        )
    read = _Reader(options)

    def score(rollout: Rollout) -> float | None:
        answers = answers_of(rollout.sample, truth, name)
        if answers is None:
            return None
        named = _named(rollout, texts, name, len(options)) if texts is not None else []
        right = {_place(rollout, answer, truth, name, options, named) for answer in answers}
        reply = reply_of(rollout)
        picked = read.reply(reply, named) if extract is None else read.answer(extract(reply) or "", named)
        return float(picked in right)

    return Reward(name, score, weight)


class _Reader:
    """Finds options in replies."""

    def __init__(self, options: list[str]) -> None:
        self._places = {option: place for place, option in enumerate(options)}
        one = "|".join(re.escape(option) for option in sorted(options, key=len, reverse=True))
        wrapped = rf"[(\[*_`\"' ]{{0,5}}(?P<letter>{one})(?![\w'\u2019])"
        self._first = re.compile(
            rf"\s{{0,9}}(?P<told>(?:option|choice|answer)\s{{1,3}})?{wrapped}(?P<rest>.{{0,60}})",
            re.IGNORECASE | re.DOTALL,
        )
        self._closed = re.compile(r"[)\]*_`\"' ]{0,5}(?:[.,:;)\]}\n\-]|$)")
        self._reason = re.compile(r"[)\]*_` ]{0,5}(?:because|since|as|for|which|with)\b", re.IGNORECASE)
        self._other = re.compile(
            rf"[)\]*_` ]{{0,5}}(?:,|/|&|\bor\b|\band\b|, ?or\b)\s{{0,3}}[(\[*_`]{{0,5}}(?:{one})(?![\w'\u2019])"
        )
        self._last = re.compile(rf"(?:^|[\s(\[*])[(\[*_`]{{0,5}}(?P<letter>{one})[)\]*_`.]{{0,5}}\s{{0,9}}\Z")

    def reply(self, reply: str, named: list[str]) -> int | None:
        """The option that a whole reply picks."""
        reply = unicodedata.normalize("NFKC", reply)
        for extract in (boxed, tag("answer")):
            if (part := extract(reply)) is not None:
                return self.answer(part, named)
        end = None
        for match in _ANSWER.finditer(reply):
            end = match.end()
        if end is not None:
            part = reply[end:].lstrip("*_: \t\n\"'").partition("\n")[0]
            if (place := self.answer(part, named)) is not None or self._several(part):
                return place
        if (place := self.answer(reply, named)) is not None or self._several(reply):
            return place
        last = self._last.search(reply[-200:])
        return self._places[last["letter"]] if last else None

    def answer(self, text: str, named: list[str]) -> int | None:
        """The option at the beginning of an answer, or the one whose text the answer is."""
        text = _LATEX.sub(r"\1", text)
        if found := self._first.match(text):
            letter, rest = found["letter"], found["rest"]
            if self._other.match(rest) or _DENIED.match(rest):
                return None
            told = found["told"] is not None
            if self._closed.match(rest) or (letter.isupper() and (told or self._goes_on(letter, rest))):
                return self._places[letter.upper()]
        said = normalize(text[:10_000])
        return named.index(said) if said in named else None

    def _goes_on(self, letter: str, rest: str) -> bool:
        # "A dog" and "I think" are no options; "B is right" is one.
        return letter not in ("A", "I") or self._reason.match(rest) is not None

    def _several(self, text: str) -> bool:
        found = self._first.match(_LATEX.sub(r"\1", text[:1_000]))
        return found is not None and self._other.match(found["rest"]) is not None


def _named(rollout: Rollout, texts: Truth, name: str, most: int) -> list[str]:
    found = truth_of(rollout.sample, texts, name)
    listed = isinstance(found, Sequence) and not isinstance(found, (str, bytes))
    if not listed or not 1 <= len(found) <= most or not all(isinstance(text, str) for text in found):
        raise unusable(rollout.sample, texts, name, found, f"is no list of the texts of up to {most} options")
    return [normalize(text) for text in found]


def _place(
    rollout: Rollout, answer: Any, truth: Truth, name: str, options: list[str], named: list[str]
) -> int:
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(options):
        return answer
    if isinstance(answer, str):
        if (letter := answer.strip(" ().").upper()) in options:
            return options.index(letter)
        if (said := normalize(answer)) in named:
            return named.index(said)
    raise unusable(rollout.sample, truth, name, answer, f"names none of the options {', '.join(options)}")
