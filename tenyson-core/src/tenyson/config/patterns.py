"""The forms that names in a configuration have, and examples of them for messages."""

from __future__ import annotations

RUN_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
FACTORY = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"

EXAMPLES = {
    RUN_ID: "sft-1 (at most 128 letters, digits, dots, dashes and underscores; a letter or digit first)",
    FACTORY: "package.module:function",
}
