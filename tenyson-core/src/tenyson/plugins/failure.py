"""What went wrong in somebody else's code: the exception, and where in their files it was raised."""

from __future__ import annotations

import traceback
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent
MOST_CHARACTERS = 8000


def one_line(error: BaseException) -> str:
    """The exception's type, the first line of its message, and file:line of the innermost frame outside Tenyson."""
    # The text of a SyntaxError ends with a place of its own, and leaves the folder out.
    text = str(error.msg if isinstance(error, SyntaxError) else error).strip()
    summary = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    place = _place(error)
    return f"{summary} ({place})" if place else summary


def last_lines(error: BaseException, most: int = 20) -> str:
    """The last lines of the traceback, of frames outside Tenyson where there are any; at most 8,000 characters."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_machinery(Path(frame.filename))] or frames
    text = "".join([*traceback.format_list(theirs), *traceback.format_exception_only(error)])
    # A message may hold halves of surrogates, which neither JSON nor SQL can.
    text = text[-MOST_CHARACTERS:].encode("utf-8", "backslashreplace").decode()
    return "\n".join(text.rstrip().splitlines()[-most:])


def _place(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and not _is_machinery(Path(frame.filename))
    ]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _is_machinery(path: Path) -> bool:
    return HERE in path.parents or path.parent.name == "importlib" or path.parent.parent.name == "importlib"
