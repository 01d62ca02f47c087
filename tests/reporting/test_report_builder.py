"""ReportBuilder: placeholders, literal braces, and that nothing is left unfilled in silence."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from tenyson.errors import ReportError, TenysonError
from tenyson.reporting import ReportBuilder


def test_placeholders_are_replaced_by_what_they_are_filled_with(tmp_path: Path) -> None:
    """Specification: simple {placeholder} replacement via fill(data); calls can be chained; the file is the report."""
    path = (
        ReportBuilder("# {title}\n\nWin rate: {win_rate}\n")
        .fill({"title": "Wordle"})
        .fill({"win_rate": 0.5, "unused": 1})
        .write(tmp_path / "deep" / "final_report.md")
    )
    assert path.read_text(encoding="utf-8") == "# Wordle\n\nWin rate: 0.5\n"


def test_a_template_can_be_a_file(tmp_path: Path) -> None:
    """A Path is a template file, and so is a string that is one line ending in .md."""
    file = tmp_path / "template.md"
    file.write_text("hello {name}", encoding="utf-8")
    assert ReportBuilder(file).fill({"name": "you"}).build() == "hello you"
    assert ReportBuilder(str(file)).fill({"name": "you"}).build() == "hello you"


def test_a_template_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A missing template is the user's mistake: one error with its place."""
    with pytest.raises(ReportError, match=r"nowhere\.md: cannot read the template: No such file") as caught:
        ReportBuilder(tmp_path / "nowhere.md")
    assert isinstance(caught.value, TenysonError)


def test_all_unfilled_placeholders_are_named_at_once(tmp_path: Path) -> None:
    """A report with a gap is an error that lists every gap, and leaves no file."""
    builder = ReportBuilder("{one} {two} {three} {one}").fill({"two": 2})
    target = tmp_path / "report.md"
    with pytest.raises(ReportError, match="missing: one, three: never filled"):
        builder.write(target)
    assert not target.exists()


def test_a_misspelt_name_is_pointed_out() -> None:
    """A value that was given under nearly the right name is suggested."""
    with pytest.raises(ReportError, match=r"win_rate .is 'win-rate' meant for it"):
        ReportBuilder("{win_rate}").fill({"win-rate": 1}).build()


@pytest.mark.parametrize("nothing", [None, math.nan, math.inf])
def test_a_number_that_is_none_is_missing(nothing: float | None) -> None:
    """None and NaN never reach a report; only where the template does not want them they do no harm."""
    with pytest.raises(ReportError, match="missing: loss"):
        ReportBuilder("{loss}").fill({"loss": nothing})
    assert ReportBuilder("fine").fill({"loss": nothing}).build() == "fine"


def test_literal_braces_survive() -> None:
    """{{name}} stands for {name}; a JSON snippet in a template needs no escaping."""
    template = '{{name}} {name} {"a": {"b": 1}} {} {0} ${{x}} }}'
    assert ReportBuilder(template).fill({"name": "N"}).build() == '{name} N {"a": {"b": 1}} {} {0} ${x} }}'


def test_values_are_not_filled_again() -> None:
    """A completion that happens to contain {other} or {{ is printed as it is."""
    assert ReportBuilder("{a}|{b}").fill({"a": "{b} {{ }}", "b": "B"}).build() == "{b} {{ }}|B"
