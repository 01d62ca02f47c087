"""The forms that names in a configuration have, and examples of them for messages."""

from __future__ import annotations

import re

RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
FACTORY = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
VARIABLE = r"^[A-Z_][A-Z0-9_]{0,63}$"
"""Of an environment variable that holds a secret."""

EXAMPLES = {
    RUN_ID: "sft-1 (at most 128 letters, digits, dots, dashes and underscores; a letter or digit first)",
    FACTORY: "package.module:function",
}


def is_variable(text: str) -> bool:
    """Whether `text` may be the name of an environment variable; a secret that somebody wrote in its place mostly is none."""
    return re.match(VARIABLE, text) is not None and not text.startswith(("AKIA", "ASIA"))
