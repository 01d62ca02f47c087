"""The owner: who rents, for people who look at a provider's console."""

from __future__ import annotations


def owner() -> str:
    """user@host."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
