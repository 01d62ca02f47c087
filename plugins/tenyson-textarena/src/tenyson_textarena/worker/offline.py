"""No network for games: some would download word lists when they are imported, others ask a model of a provider."""

from __future__ import annotations

import sys
from typing import Any

ASKS_A_MODEL = "it asks a model of a provider"
NEEDS = {
    "Crosswords": ASKS_A_MODEL,
    "Debate": ASKS_A_MODEL,
    "GuessWho": ASKS_A_MODEL,
    "ScenarioPlanning": ASKS_A_MODEL,
    "TwentyQuestions": ASKS_A_MODEL,
}
"""Packages of games that cannot be played offline, and why."""


def desk() -> Any:
    """The requests, in a process that has no network from here on; what serves them is imported after that."""
    forbid_network()
    from tenyson_textarena.worker.desk import Desk

    return Desk()


def forbid_network() -> None:
    """Let every connection to the outside raise, for the rest of the process."""
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:  # noqa: ARG001
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise ConnectionError("games are played offline, and this one asks for the network")
