"""Charts: static SVG, the same bytes for the same numbers."""

from __future__ import annotations

import math
import random
import xml.etree.ElementTree as ET

import pytest

from tenyson.reporting.chart import MAX_POINTS, line_chart


def test_the_same_numbers_give_the_same_bytes() -> None:
    """Nothing random and no date goes into a chart."""
    points = [(i, random.Random(i).random()) for i in range(50)]
    assert line_chart("loss", {"loss": points}) == line_chart("loss", {"loss": points})


def test_a_chart_is_static_svg_that_needs_nothing_else() -> None:
    """Well-formed XML with title, axis name and legend, without scripts or references to other places."""
    svg = line_chart("sft: <loss> & more", {"loss": [(1, 2.0), (2, 1.0)], "eval_loss": [(2, 1.5)]})
    root = ET.fromstring(svg)
    texts = {element.text for element in root.iter() if element.tag.endswith("text")}
    assert {"sft: <loss> & more", "step", "loss", "eval_loss"} <= texts
    assert not [element for element in root.iter() if element.tag.endswith(("script", "image"))]
    assert "href" not in svg


@pytest.mark.parametrize("values", [[0.0], [0.0, 0.0], [1e-7, 2e-7], [-3.0, 1e6], [5.0, math.nan, 6.0]])
def test_awkward_numbers_are_drawn(values: list[float]) -> None:
    """One point, a constant, tiny and huge spans and gaps give a chart without NaN in it."""
    svg = line_chart("reward", {"reward": list(enumerate(values))})
    assert "nan" not in svg.lower()


def test_a_long_run_keeps_its_shape_in_few_points() -> None:
    """10,000 steps are drawn as means of runs; the file stays small."""
    svg = line_chart("loss", {"loss": [(i, math.exp(-i / 2000)) for i in range(10_000)]})
    assert svg.count(" L ") + svg.count("L") <= 2 * MAX_POINTS + 50
    assert len(svg) < 20_000


def test_nothing_to_draw_is_an_error() -> None:
    """An empty chart would look like a result."""
    with pytest.raises(ValueError, match="nothing to draw"):
        line_chart("loss", {"loss": [(1, math.nan)]})
