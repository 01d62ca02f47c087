"""Pages that are written by scripts: what stands there is what the scripts would write."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


SCRIPTS = ["generate_schema.py", "generate_answers.py", "generate_backends.py", "generate_types.py"]


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_generated_page_is_up_to_date(script: str) -> None:
    """The schema is that of the code; the answers are what `tenyson sql` says of the example database."""
    done = subprocess.run([sys.executable, DOCS / script, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_field_that_a_plugin_takes_or_gives_has_a_meaning() -> None:
    """A docstring in the source is a row of the page."""
    pages = sorted((DOCS / "reference" / "plugins").glob("*.md"))
    rows = [
        line for page in pages for line in page.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"
    ]
    assert len(rows) > 150
    assert [row for row in rows if row.endswith("|  |")] == []


def test_ten_questions_have_answers() -> None:
    """Each with rows in it."""
    page = (DOCS / "how-to" / "sql.md").read_text(encoding="utf-8")
    answers = re.findall(r"```sql\n.*?```\n\n```text\n(.*?)```", page, flags=re.DOTALL)
    assert len(answers) == 10
    assert all(len(answer.splitlines()) >= 2 for answer in answers)
