"""Normalisation: texts that say the same compare as equal."""

from __future__ import annotations

import re
import unicodedata

MINUS = "-\u2010\u2011\u2012\u2013\u2212\ufe63\uff0d"
"""Signs that are written for a minus: hyphens, dashes, the minus of mathematics."""

_QUOTES = str.maketrans(
    {**dict.fromkeys("\u2018\u2019\u201a\u2032", "'"), **dict.fromkeys("\u201c\u201d\u201e\u2033", '"')}
)
_DASHES = str.maketrans(dict.fromkeys(MINUS, "-"))
_AROUND = "*_`\"' \t\n"


def normalize(text: str, *, ignore_case: bool = True, ignore_punctuation: bool = False) -> str:
    """One form for what looks alike: NFKC, straight quotes, plain minus, single blanks, no Markdown around, no full stop last."""
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES).translate(_DASHES)
    if ignore_case:
        text = text.casefold()
    if ignore_punctuation:
        text = "".join(sign if _counts(sign) else " " for sign in text)
    text = " ".join(text.split()).strip(_AROUND)
    if text.endswith(".") and not text.endswith(".."):
        text = text[:-1].rstrip(_AROUND)
    return text


def words(text: str) -> int:
    """How many words a text has: stretches between blanks."""
    return sum(1 for _ in re.finditer(r"\S+", text))


def _counts(sign: str) -> bool:
    # Signs that carry meaning in an answer (currency, arithmetic) are symbols, not punctuation; so is a minus.
    return sign == "-" or not unicodedata.category(sign).startswith("P")
