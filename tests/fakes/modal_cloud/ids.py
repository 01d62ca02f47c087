"""Ids as Modal makes them."""

from __future__ import annotations

import secrets
import string

_LETTERS = string.ascii_letters + string.digits


def new_id(prefix: str) -> str:
    """A prefix of two letters, a dash and 22 letters and digits: the client checks that form."""
    return f"{prefix}-" + "".join(secrets.choice(_LETTERS) for _ in range(22))
