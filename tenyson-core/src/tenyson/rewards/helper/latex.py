"""Answers that math-verify reads otherwise than people write them: digits in groups, powers of ten, repeating decimals, words."""

from __future__ import annotations

import re

_WIDE_DIGITS = {0xFF10 + digit: str(digit) for digit in range(10)}
_GROUP_MARK = re.compile(r"(?<=\d)(?:,?\\!|\\[,;: ]|\{,\}|~|[\u00a0\u2009\u202f])(?=\d{3}(?!\d))")
_SPACED_NUMBER = re.compile(r"\s*-?\d{1,3}(?: \d{3})+(?:\.\d+)?\s*")
_POWER_OF_TEN = re.compile(r"(?<![A-Za-z\d.\\])(\d{1,99}(?:\.\d{1,99})?)[eE]([+-]?\d{1,3})(?![\w.])")
_REPEATING = re.compile(r"(?<![\d.])(\d{0,30})\.(\d{0,30})\\(?:overline|bar)\s?\{?(\d{1,30})\}?")
_TEXT = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s?\{([^{}]*)\}")


def as_latex(answer: str) -> str:
    """The same answer with numbers as math-verify reads them: 1\\,000 is 1000, 1e5 is 1*10^5, 0.\\overline{3} is 3/9."""
    answer = _GROUP_MARK.sub("", answer.translate(_WIDE_DIGITS))
    if _SPACED_NUMBER.fullmatch(answer):
        answer = answer.replace(" ", "")
    answer = _POWER_OF_TEN.sub(r"\1\\times 10^{\2}", answer)
    return _REPEATING.sub(_fraction, answer)


def same_words(one: str, other: str) -> bool:
    """Whether both are the same words, in capitals or not: True and \\text{true}.."""
    words = _words(one)
    return words is not None and words == _words(other)


def _words(answer: str) -> str | None:
    text = "".join(_TEXT.sub(r"\1", answer.strip().strip("$")).split())
    return text.casefold() if re.fullmatch(r"[^\W\d_]{2,}\d{0,9}", text) else None


def _fraction(found: re.Match[str]) -> str:
    whole, fixed, again = found.groups()
    over = "9" * len(again) + "0" * len(fixed)
    top = int(f"{whole}{fixed}{again}") - int(f"{whole}{fixed}" or "0")
    return f"\\frac{{{top}}}{{{over}}}"
