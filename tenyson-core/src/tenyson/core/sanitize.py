"""Text from a model, a library or another machine, without what a terminal would obey.

A completion may hold escape sequences: some set the window's title, clear the screen or write to the clipboard.
"""

from __future__ import annotations

import re

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor, clearing
    r"|\x1b[\]PX^_].*?(?:\x07|\x1b\\|\x9c|$)"  # OSC and its kin: title, clipboard, up to their end
    r"|\x9b[0-?]*[ -/]*[@-~]"
    r"|\x1b[ -/]*[0-~]?",
    re.DOTALL,
)
_CONTROLS: dict[int, str | None] = {
    code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if code not in (0x09, 0x0A)
}
# Marks that turn the direction of writing can make text look like another one.
_TURNS: dict[int, str | None] = {
    code: f"<U+{code:04X}>" for code in (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)
}


def without_controls(text: str) -> str:
    """The text without escape sequences and control characters; newlines and tabs stay."""
    return _SEQUENCES.sub("", text).translate(_CONTROLS)


def safe(text: str) -> str:
    """The same, with a visible name for each mark that turns the direction of writing."""
    return without_controls(text).translate(_TURNS)


def one_line(text: str, width: int) -> str:
    """The same on one line, cut to `width` characters."""
    line = " ".join(safe(text).split())
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"
