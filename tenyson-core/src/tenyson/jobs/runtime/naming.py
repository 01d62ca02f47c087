"""Names for runs and pipelines that were given none: what it is, the local date, and four characters."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

_CHARACTERS = "bcdfghjkmnpqrstvwxz23456789"
"""Neither vowels, so that no words come about, nor what is taken for another one."""


def dated_name(about: str, output_dir: str | Path = "./outputs") -> str:
    """Such as wordle-tiny-261123-kd7w; no folder in `output_dir` has this name, or begins with it."""
    while True:
        suffix = "".join(secrets.choice(_CHARACTERS) for _ in range(4))
        name = f"{about}-{time.strftime('%y%m%d')}-{suffix}"
        try:
            taken = any(Path(output_dir).glob(f"{name}*"))
        except OSError:  # whoever makes the folder says what is wrong with it
            return name
        if not taken:
            return name
