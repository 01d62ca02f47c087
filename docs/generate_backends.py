"""Write the tables of settings in docs/how-to/aws.md and modal.md, and the policy in the first; with --check only compare."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from pydantic import BaseModel

from tenyson_aws.api.permissions import policy
from tenyson_aws.settings import AWSSettings
from tenyson_modal.settings import ModalSettings

PAGES = Path(__file__).parent / "how-to"
FENCE = "```json\n"
HEAD = "| setting | default | meaning |\n| --- | --- | --- |\n"


def table(model: type[BaseModel]) -> str:
    """The rows, in the order of the model: its own first, then those of every machine that is reached over SSH."""
    rows = []
    own = [name for name in model.__annotations__ if name in model.model_fields]
    for name in dict.fromkeys([*own, *model.model_fields]):
        field = model.model_fields[name]
        default = field.get_default(call_default_factory=True)
        shown = "" if default is None or default == [] else f"`{json.dumps(default)}`"
        meaning = " ".join((field.description or "").split())
        rows.append(f"| `{name}` | {shown} | {meaning} |\n")
    return HEAD + "".join(rows)


def with_table(text: str, model: type[BaseModel]) -> str:
    """The page with its table regenerated."""
    start = text.index(HEAD)
    rest = re.sub(r"\A(?:\|.*\n|<!-- settings -->\n)+", "", text[start:])
    return text[:start] + table(model) + rest


def with_policy(text: str) -> str:
    """The page with the policy that `tenyson aws policy` prints."""
    start = text.index(FENCE)
    made = f"{FENCE}{json.dumps(policy(), indent=2)}\n```\n"
    return text[:start] + made + text[text.index("```\n", start + len(FENCE)) + 4 :]


def main() -> int:
    """Write or compare."""
    aws, modal = ((PAGES / name).read_text(encoding="utf-8") for name in ("aws.md", "modal.md"))
    made = {
        "aws.md": (aws, with_table(with_policy(aws), AWSSettings)),
        "modal.md": (modal, with_table(modal, ModalSettings)),
    }
    if "--check" in sys.argv:
        return int(any(before != after for before, after in made.values()))
    for name, (_, after) in made.items():
        (PAGES / name).write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
