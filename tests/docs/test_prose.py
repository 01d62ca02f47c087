"""Sources and docs are written in plain English: phrases that readers stumbled over do not come back."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BANNED = {
    r"(go|goes|going|gone|went) on": "continue, resume, keep running",
    r"anew": "again, from the start",
    r"(stand|stands|standing|stood) for": "mean, be, replace, count instead of",
    r"(look|looks|looked|looking) after": "supervise, monitor, maintain",
    r"(end|ends|ended|ending) well": "succeed",
    r"(take|takes|taken|taking|took) back": "preempt, reclaim, undo",
    r"(stand|stands|standing|stood) on": "depend on",
    r"(go|goes|going|gone|went) before": "take precedence over",
    r"without a word": "without reporting why, silently",
    r"what [`\w.]+ (gives|gave)": "say what it is",
    r"(shall )?become of": "What next?",
    r"reckon(s|ed|ing)?": "estimate, compute",
    r"there already": "already exist, already present",
    r"sign of life": "heartbeat",
}
"""What must not be written (words of a regular expression, whatever separates them), and what to write instead."""

_GAP = r"""(?:\s*["']\s*\n\s*[rf]*["']\s*|\s*\n\s*[#>-]*\s*|\s+)"""
"""What may separate two words of a phrase: blanks, a line break in a text, a comment or between parts of a string."""

_PATTERNS = {phrase: re.compile(rf"(?<![\w.])(?:{phrase.replace(' ', _GAP)})(?!\w)") for phrase in BANNED}

_NAME = re.compile(r"""^anew(?:=|:\s*[a-z]+(?:\[| \|))""")
"""An argument or a field: no prose."""

_QUOTES = set("\"'`")


def _findings(text: str) -> list[tuple[int, str, str]]:
    """Line, the phrase as it is written, and what to write instead."""
    lowered = text.lower()
    found = []
    for phrase, pattern in _PATTERNS.items():
        for match in pattern.finditer(lowered):
            begin, end = match.span()
            quoted = lowered[begin - 1 : begin] in _QUOTES and lowered[end : end + 1] in _QUOTES
            if quoted or lowered[begin - 2 : begin] == "= " or _NAME.match(lowered[begin : end + 20]):
                continue
            found.append(
                (lowered.count("\n", 0, begin) + 1, " ".join(text[begin:end].split()), BANNED[phrase])
            )
    return sorted(found)


def _is_prose(path: str) -> bool:
    """Sources and docs; not tests, data, texts of others, nor schemas that migrations froze."""
    if (
        path.startswith("tests/")
        or "/migrations/schemas/" in path
        or "/data/" in path
        or path.endswith("LICENSE")
    ):
        return False
    return Path(path).suffix in {".py", ".md", ".sh", ".yaml", ".yml", ".toml"} or path in {
        "Makefile",
        ".ci/run",
    }


def _files() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [path for path in listed.stdout.splitlines() if _is_prose(path) and (ROOT / path).is_file()]


@functools.cache
def _findings_in(path: str) -> list[tuple[int, str, str]]:
    return _findings((ROOT / path).read_text(encoding="utf-8"))


@pytest.mark.slow
def test_no_banned_phrase_in_sources_and_docs() -> None:
    """Each finding names file and line, and says what to write instead."""
    told = [
        f"{path}:{line}: {written!r}; better: {better}"
        for path in _files()
        for line, written, better in _findings_in(path)
    ]
    assert not told, f"{len(told)} banned phrases\n" + "\n".join(told)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("The job goes on.", [1]),
        ('said = (\n    "the job goes "\n    "on here"\n)', [2]),
        ("# one\n# the result stands\n# for it", [2]),
        ("What shall\nbecome of it?", [1]),
        ("plan.anew, 'anew', f(anew=1), selection_anew", []),
        ("Run it anew.", [1]),
        ("ongoing work is on the list", []),
        ("is what `work` gives", [1]),
    ],
)
def test_a_phrase_is_found_across_lines_and_not_in_names(text: str, lines: list[int]) -> None:
    """Strings in parts, wrapped comments and paragraphs count; attributes, keys and arguments do not."""
    assert [line for line, _, _ in _findings(text)] == lines


@pytest.mark.parametrize("page", sorted((ROOT / "docs" / "how-to").glob("*.md")), ids=lambda page: page.name)
def test_paragraphs_of_how_tos_are_short(page: Path) -> None:
    """At most five lines; a step or an item of a list counts as a paragraph."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.|\|) )|\n(?=\|)", text):
        lines = paragraph.strip().splitlines()
        assert len(lines) <= 5, f"{page.name}: {len(lines)} lines from {lines[0]!r}"
