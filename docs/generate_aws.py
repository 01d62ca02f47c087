"""Write the policy and the table of settings in docs/how-to/aws.md: `python docs/generate_aws.py`; with --check only compare."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from tenyson_aws.permissions import policy
from tenyson_aws.settings import AWSSettings

PAGE = Path(__file__).parent / "how-to" / "aws.md"
FENCE = "```json\n"
HEAD = "| setting | default | meaning |\n| --- | --- | --- |\n"


def table() -> str:
    """The rows, in the order of the model."""
    rows = []
    for name, field in AWSSettings.model_fields.items():
        default = field.get_default()
        shown = "" if default is None or default == [] else f"`{json.dumps(default)}`"
        meaning = " ".join((field.description or "").split())
        rows.append(f"| `{name}` | {shown} | {meaning} |\n")
    return HEAD + "".join(rows)


def iam() -> str:
    """The policy that `tenyson aws policy` prints."""
    return f"{FENCE}{json.dumps(policy(), indent=2)}\n```\n"


def main() -> int:
    """Write or compare."""
    text = PAGE.read_text(encoding="utf-8")
    start = text.index(FENCE)
    text = text[:start] + iam() + text[text.index("```\n", start + len(FENCE)) + 4 :]
    start = text.index(HEAD)
    rest = re.sub(r"\A(?:\|.*\n|<!-- settings -->\n)+", "", text[start:])
    made = text[:start] + table() + rest
    if "--check" in sys.argv:
        return int(made != PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
