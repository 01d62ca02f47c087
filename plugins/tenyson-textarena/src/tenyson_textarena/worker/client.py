"""What the task asks of the process that runs textarena."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from importlib.util import find_spec
from itertools import count
from typing import TYPE_CHECKING, Any

from tenyson.core import workers
from tenyson.errors import MissingDependencyError, TaskError, WorkerError

if TYPE_CHECKING:
    from tenyson_textarena.setup import Setup

MEMORY = 16 << 30
"""Bytes of address space, most of which numerical libraries reserve and never touch."""
STARTING = 300.0
"""Seconds for the process to import textarena on a busy machine."""
LATE = 60.0
"""Seconds beyond a request's own limit after which the process counts as hung."""
ENV = {
    "PYTHONHASHSEED": "0",  # a game may take elements out of sets
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Worker:
    """One process, started when it is first asked. Threads take turns.

    Games seed and draw from the global random state, print, and import what downloads word lists. All of that stays in the
    process. What ends two of them is the request's doing.
    """

    def __init__(self) -> None:
        self.process = workers.Worker(
            "textarena",
            "tenyson_textarena.worker.offline:desk",
            pass_env=["NLTK_DATA"],
            env=ENV,
            attempts=2,
            memory=MEMORY,
            start_seconds=STARTING,
        )
        self._keys = count()
        self._names: dict[str, Any] | None = None

    def names(self) -> dict[str, Any]:
        """The version of textarena, and the games with why they cannot be played, None where they can."""
        if self._names is None:
            self._names = self._require("textarena", LATE, "names")
        return self._names

    def begin(self, setup: Setup) -> dict[str, Any]:
        """Deal a game: its `key`, `players`, `seat` and `opening`, and the rest as of `step`. Raises: TaskError."""
        key = str(next(self._keys))
        return self._of_game(setup.game, "begin", setup, key=key)

    def step(self, key: str, setup: Setup, replies: Sequence[str]) -> dict[str, Any]:
        """Take the last of a game's replies: the next `text`, whose `turn` it is, and the outcome if it is `over`. Raises: TaskError."""
        what = f"{setup.game}, move {len(replies)}"
        return self._of_game(what, "step", setup, key=key, replies=list(replies))

    def demonstrate(self, setup: Setup) -> dict[str, Any]:
        """A game of random legal moves: `turns`, pairs of move and answer; none if it was not won. Raises: TaskError."""
        return self._of_game(setup.game, "demonstrate", setup)

    def close(self, key: str) -> None:
        """Forget a game; nothing to do if the process has ended."""
        if self.process.pid is not None:
            with suppress(WorkerError):
                self.process.ask("close", LATE, key=key)

    def _of_game(self, what: str, verb: str, setup: Setup, **request: Any) -> dict[str, Any]:
        found: dict[str, Any] = self._require(
            what, setup.seconds + LATE, verb, setup=asdict(setup), **request
        )
        return found

    def _require(self, what: str, limit: float, verb: str, **request: Any) -> Any:
        if self.process.pid is None and find_spec("textarena") is None:
            raise MissingDependencyError(
                "textarena", needed_for="the task textarena", install="textarena>=0.7.4,<0.8"
            )
        try:
            return self.process.ask(verb, limit, **request)
        except WorkerError as error:
            if error.kind in ("python", "start"):
                error.next_step = 'Try: python -c "import textarena"'
                raise
            over = error.kind != "raised" or error.raised == "TimeLimitError"
            raise TaskError(f"{what}: {_words(error)}", next_step=_LIMIT if over else None) from None


def _words(error: WorkerError) -> str:
    """What a game raises, as people say it."""
    match error.raised:
        case "TimeLimitError":
            return error.message
        case "LookupError":
            return _lookup(error.message)
        case "SyntaxError" | "IndentationError" | "TabError":
            return f"its source is for another Python than {sys.version.split()[0]}: {error.message}"
    return error.cause[:500]


def _lookup(message: str) -> str:
    """nltk raises LookupErrors, and frames the name of what is missing in a box of several lines."""
    words = [line.strip() for line in message.splitlines() if any(map(str.isalpha, line))]
    if words and words[0].startswith("Resource "):
        return f"nltk has no corpus {words[0].split()[1]} on this disk: python -m nltk.downloader words averaged_perceptron_tagger_eng"
    return words[0][:500] if words else "LookupError"


@cache
def worker() -> Worker:
    """That of this process."""
    return Worker()


_LIMIT = "Give it more time: task.args.step_seconds."
