"""Line charts as static SVG text, the same bytes for the same numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

Points = Sequence[tuple[float, float]]
MAX_POINTS = 300


def line_chart(title: str, series: Mapping[str, Points], *, x: str = "step") -> str:
    """An SVG of 720 x 360 pixels with one line for each series of (x, y); one of a single point is drawn as a dot.

    Points that are not finite are left out; longer series are drawn as means of equal runs of points.

    Raises: ValueError: nothing is left to draw.
    """
    import leather

    drawn = {name: _thin(points) for name, points in series.items()}
    drawn = {name: points for name, points in drawn.items() if points}
    if not drawn:
        raise ValueError(f"nothing to draw for {title!r}")
    chart: Any = leather.Chart(title)
    for name, points in drawn.items():
        (chart.add_line if len(points) > 1 else chart.add_dots)(points, name=name)
    for axis, add in ((0, chart.add_x_scale), (1, chart.add_y_scale)):
        add(*_span([point[axis] for points in drawn.values() for point in points]))
    chart.add_x_axis(name=x, tick_formatter=_tick)
    chart.add_y_axis(tick_formatter=_tick)
    return _text(chart, 360)


def histograms(series: Mapping[str, Mapping[str, float]], *, unit: str = "") -> str:
    """An SVG, 720 pixels wide, of column charts side by side on one scale from 0: one a series, its name above it.

    Raises: ValueError: there is nothing to draw.
    """
    import leather

    if not series:
        raise ValueError("nothing to draw")
    top = _span([0.0, *(value for values in series.values() for value in values.values())])
    grid: Any = leather.Grid()
    for name, values in series.items():
        chart: Any = leather.Chart(name)
        chart.add_columns([(str(category), value) for category, value in values.items()])
        chart.add_y_scale(*top)
        chart.add_y_axis(name=unit, tick_formatter=_tick)
        grid.add_one(chart)
    return _text(grid, 240 * math.ceil(len(series) / math.ceil(math.sqrt(len(series)))))


def _text(chart: Any, height: int) -> str:
    svg: str = chart.to_svg(width=720, height=height)
    svg = svg.replace('font-family="Monaco"', 'font-family="sans-serif"')
    return re.sub(r"(\d+\.\d{2})\d+", r"\1", svg) + "\n"


def _thin(points: Points) -> list[tuple[float, float]]:
    finite = [(float(x), float(y)) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    width = math.ceil(len(finite) / MAX_POINTS)
    if width <= 1:
        return finite
    runs = [finite[start : start + width] for start in range(0, len(finite), width)]
    return [(fmean(x for x, _ in run), fmean(y for _, y in run)) for run in runs]


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Bounds at round numbers around the values, never of zero width."""
    low, high = min(values), max(values)
    if low == high:
        low, high = low - (abs(low) or 1) * 0.5, high + (abs(high) or 1) * 0.5
    unit = 10 ** math.floor(math.log10((high - low) / 4))
    step = next(factor * unit for factor in (1, 2, 2.5, 5, 10) if factor * unit * 4 >= high - low)
    return math.floor(low / step) * step, math.ceil(high / step) * step


def _tick(value: Any, _index: int, _count: int) -> str:
    return f"{float(value):.6g}"
