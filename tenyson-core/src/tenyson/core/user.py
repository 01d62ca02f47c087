"""Who runs this process, for people who look at a provider's console or at a decision in a journal."""

from __future__ import annotations


def user_at_host() -> str:
    """`user@host`; the user is "unknown" where the system has no name, as in some containers."""
    import getpass
    import socket

    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"
