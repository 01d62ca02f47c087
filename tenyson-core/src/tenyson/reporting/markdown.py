"""Markdown: tables, fenced blocks and numbers, as reports write them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from tenyson.reporting.statistics import Difference
from tenyson.tasks.metrics.core import is_share
from tenyson.tasks.metrics.metric import Metric


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; the first column is flush left, the others flush right."""
    marks = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join("| " + " | ".join(map(cell, row)) + " |" for row in (header, marks, *rows))


def cell(text: str) -> str:
    """Text that cannot break a table: on one line, its bars escaped."""
    return " ".join(str(text).split()).replace("|", "\\|")


def fence(text: str, language: str = "") -> str:
    """A fenced block, with a fence longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    ticks = "`" * max(3, longest + 1)
    return f"{ticks}{language}\n{text.rstrip()}\n{ticks}"


def number(name: str, value: float) -> str:
    """A metric's value: shares in percent, others with four significant digits."""
    return f"{100 * value:.1f}%" if is_share(name) else f"{value:.4g}"


def with_interval(name: str, metric: Metric | None) -> str:
    """Value and 95% interval, such as `57.3% [54.2, 60.3]`."""
    if metric is None:
        return "not measured"
    value = number(name, metric.value)
    if math.isnan(metric.low) or math.isnan(metric.high):
        return f"{value} (no interval)" if metric.n > 1 and math.isfinite(metric.value) else value
    return f"{value} [{number(name, metric.low).rstrip('%')}, {number(name, metric.high).rstrip('%')}]"


def signed(name: str, difference: Difference) -> str:
    """A difference and its 95% interval; of shares in percentage points, such as `+20.1 pp [+15.9, +24.2]`."""
    scale, unit = (100, " pp") if is_share(name) else (1, "")
    form = "+.1f" if is_share(name) else "+.4g"
    value, low, high = (format(scale * x, form) for x in (difference.value, difference.low, difference.high))
    return f"{value}{unit} [{low}, {high}]" if difference.has_interval else f"{value}{unit} (no interval)"


def p_value(p: float) -> str:
    """Such as `0.032` or `< 0.001`."""
    return "< 0.001" if p < 0.001 else f"{p:.3f}"
