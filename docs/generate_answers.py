"""Writes the answers into docs/how-to/sql.md: each query is asked of the example database by `tenyson sql`.

python docs/generate_answers.py [--check]
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
PAGE = DOCS / "how-to" / "sql.md"
_BLOCK = re.compile(r"```sql\n(?P<query>.*?)```\n(?:\n```text\n.*?```\n)?", re.DOTALL)


def page() -> str:
    """The page with today's answers."""
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/t.db"
        subprocess.run([sys.executable, DOCS / "examples" / "arithmetic_runs.py", url], check=True)

        def answered(block: re.Match[str]) -> str:
            command = [Path(sys.executable).with_name("tenyson"), "sql", block["query"], "--db-url", url]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{block['query']}\n{done.stderr}")
            return f"```sql\n{block['query']}```\n\n```text\n{done.stdout}```\n"

        return _BLOCK.sub(answered, PAGE.read_text(encoding="utf-8"))


if __name__ == "__main__":
    if "--check" in sys.argv:
        out_of_date = f"{PAGE} is out of date: python docs/generate_answers.py"
        sys.exit(0 if PAGE.read_text(encoding="utf-8") == page() else out_of_date)
    PAGE.write_text(page(), encoding="utf-8")
