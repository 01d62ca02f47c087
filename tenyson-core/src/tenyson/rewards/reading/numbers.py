"""Numbers however they are written: signs, thousands, currency, percent, fractions, powers of ten, LaTeX, number words."""

from __future__ import annotations

import re
import unicodedata
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tenyson.rewards.reading.normalize import MINUS

DIGITS = 400
"""Digits of a number, and powers of ten, that are computed with. What is longer is no number."""


END = 20_000
"""Characters at the end of a text in which the last number is looked for."""


@dataclass(frozen=True)
class Quantity:
    """A number, and whether a percent sign follows it."""

    value: Fraction
    percent: bool = False

    def equals(self, other: Quantity, relative: Fraction | None, absolute: Fraction) -> bool:
        """Whether both are the same. Where one alone has a percent sign, 50% is both 50 and 0.5.

        Without `relative`, whole numbers must be equal and others may differ by the rounding of floats.
        """
        values = [self.value]
        others = [other.value]
        if self.percent != other.percent:
            (values if self.percent else others).append((self if self.percent else other).value / 100)
        return any(_near(one, two, relative, absolute) for one in values for two in others)


def _near(one: Fraction, two: Fraction, relative: Fraction | None, absolute: Fraction) -> bool:
    if relative is None:
        relative = Fraction(0) if one.denominator == two.denominator == 1 else ROUNDING
    return abs(one - two) <= max(absolute, relative * abs(two))


ROUNDING = Fraction(1, 10**9)
"""How far apart floats may be that mean the same number."""

_VULGAR = re.compile("[\u00bc-\u00be\u2150-\u215e\u2189]")
_RAISED = "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079\u207a\u207b"
_RAISED_RUN = re.compile(f"[{_RAISED}]{{1,9}}")
_LOWERED = str.maketrans(_RAISED, "0123456789+-")
_LATEX = re.compile(
    r"\\[dt]?frac\s{0,3}(?:\{\s{0,3}(?P<top>-?[\d.]{1,99})\s{0,3}\}\s{0,3}\{\s{0,3}(?P<bottom>[\d.]{1,99})\s{0,3}\}"
    r"|(?P<short_top>\d)\s{0,3}(?P<short_bottom>\d))"
)
_SPACED = re.compile(r"(?<=\d)(?:\{,\}|\\[,;:!]|\\ )(?=\d{3})")
_THOUSANDS_BLANK = re.compile("(?<=\\d)[\u00a0\u2009\u202f'_](?=\\d{3}(?!\\d))")
# Digits behind a letter or a caret belong to a name, a unit or a power: CO2, m^2.
_NUMBER = re.compile(
    r"(?<![A-Za-z_^\d])(?<!\^\{)(?:(?P<whole>\d{1,3}(?:,\d{3}(?!\d))+|\d+)(?P<decimals>\.\d+)?|(?<!\.)(?P<bare>\.\d+))"
)
_TIMES_TEN = re.compile(
    r"(?:[eE](?P<e>[+-]?\d+)(?!\w)|\s{0,3}(?:[x*\u00d7\u00b7]|\\times|\\cdot)\s{0,3}"
    r"10\s{0,3}(?:\^|\*\*)\s{0,3}[{(]?\s{0,3}(?P<ten>[+-]?\d+)\s{0,3}[})]?)"
)
_POWER = re.compile(r"\s{0,3}(?:\^|\*\*)\s{0,3}[{(]?\s{0,3}(?P<power>[+-]?\d+)\s{0,3}[})]?")
_OVER = re.compile(r"\s{0,3}/\s{0,3}(?P<bottom>\d{1,400}(?:\.\d{1,400})?)(?![\d/])")
_MIXED = re.compile(r" {1,3}(?P<top>\d{1,9})/(?P<bottom>\d{1,9})(?![\d/])")
_PERCENT = re.compile(r"\s{0,3}(?:\\?%|percent\b|per cent\b)", re.IGNORECASE)
_SCALE = re.compile(r"\s{1,3}(?P<word>thousand|million|billion|trillion)\b", re.IGNORECASE)
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_CURRENCY = "$\u20ac\u00a3\u00a5\u20b9\u20a9\u20bd"


def quantity_of(value: Any) -> Quantity | None:
    """The number that a right answer is: a number, or text that holds one number alone or ends in `#### number`."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float | Fraction):
        text = repr(value) if isinstance(value, float) else str(value) if _short(value) else ""
        value = text
    if not isinstance(value, str):
        return None
    found = list(quantities(value.rpartition("####")[2], most=2))
    return found[0] if len(found) == 1 else None


def quantities(text: str, most: int | None = None) -> Iterator[Quantity]:
    """The numbers in a text, in order; at most so many."""
    text = _plain(text)
    position, last, count = 0, 0, 0
    while (most is None or count < most) and (match := _NUMBER.search(text, position)):
        quantity, position = _read(text, match, last)
        last = position
        if quantity is not None:
            count += 1
            yield quantity


def last_quantity(text: str) -> Quantity | None:
    """The last number in a text, or in the end of a long one."""
    found = deque(quantities(text[-END:]), maxlen=1)
    return found[0] if found else None


def _short(value: int | Fraction) -> bool:
    return isinstance(value, Fraction) or value.bit_length() < 3 * DIGITS


def _plain(text: str) -> str:
    """The text with one way of writing for each part of a number. Linear."""
    text = _VULGAR.sub(lambda sign: " " + unicodedata.normalize("NFKC", sign[0]).replace("\u2044", "/"), text)
    text = _RAISED_RUN.sub(lambda run: "^" + run[0].translate(_LOWERED), text)
    text = _THOUSANDS_BLANK.sub("", text)
    text = unicodedata.normalize("NFKC", text)
    for sign in MINUS[1:]:
        text = text.replace(sign, "-")
    text = _SPACED.sub("", text)
    text = _LATEX.sub(_over, text)
    return text.replace("\\$", "$").replace("\\!", "")


def _over(found: re.Match[str]) -> str:
    # A blank behind a digit makes it a mixed number; behind a minus it would make the sign a subtraction.
    blank = " " if found.string[max(0, found.start() - 1) : found.start()].isdigit() else ""
    return f"{blank}{found['top'] or found['short_top']}/{found['bottom'] or found['short_bottom']} "


def _read(text: str, match: re.Match[str], last: int) -> tuple[Quantity | None, int]:
    """The number that begins with `match`, and where it ends. `last`: where the one before it ended."""
    digits = (match["whole"] or "0").replace(",", "") + (match["decimals"] or match["bare"] or "")
    end = match.end()
    value = _fraction(digits)
    if ten := _TIMES_TEN.match(text, end):
        end = ten.end()
        value = _times(value, _power(Fraction(10), ten["e"] or ten["ten"]))
    elif power := _POWER.match(text, end):
        end = power.end()
        value = _power(value, power["power"])
    elif (mixed := _MIXED.match(text, end)) and match["decimals"] is None and value is not None:
        end = mixed.end()
        part = _divided(Fraction(int(mixed["top"])), mixed["bottom"])
        value = None if part is None else value + part
    elif over := _OVER.match(text, end):
        end = over.end()
        value = _divided(value, over["bottom"])
    if scale := _SCALE.match(text, end):
        end = scale.end()
        value = None if value is None else value * 10 ** _SCALES[scale["word"].lower()]
    percent = _PERCENT.match(text, end)
    if value is None:
        return None, end
    if _negative(text, match.start(), last):
        value = -value
    return Quantity(value, percent is not None), percent.end() if percent else end


def _negative(text: str, start: int, last: int) -> bool:
    """Whether a minus before `start` is a sign, not a subtraction or a hyphen."""
    before = text[max(last, start - 9) : start]
    ahead = before.rstrip(_CURRENCY + " ")
    if not ahead.endswith("-"):
        return False
    attached = before.rstrip(_CURRENCY) == ahead
    ahead = ahead[:-1]
    earlier = ahead.rstrip()
    blank = ahead[len(earlier) :]
    if attached and blank:
        return True
    if "\n" in blank:  # an item of a list
        return False
    if not earlier:  # right behind another number it subtracts
        return last == 0 or last < start - 9
    return not (earlier[-1].isalnum() or earlier[-1] in ")]}%")


def _fraction(digits: str) -> Fraction | None:
    if len(digits) > DIGITS or digits.count(".") > 1 or digits == ".":
        return None
    return Fraction(digits)


def _power(base: Fraction | None, exponent: str) -> Fraction | None:
    if base is None or len(exponent) > 5:
        return None
    power = int(exponent)
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if abs(power) * size > 4 * DIGITS or (power < 0 and not base):
        return None
    return base**power


def _times(value: Fraction | None, by: Fraction | None) -> Fraction | None:
    return None if value is None or by is None else value * by


def _divided(value: Fraction | None, bottom: str) -> Fraction | None:
    divisor = _fraction(bottom)
    return value / divisor if value is not None and divisor else None
