"""What the task asks of the process that runs reasoning-gym."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from tenyson.core import workers
from tenyson.errors import MissingDependencyError, TaskError, WorkerError

CHUNK = 64
"""Entries of one request."""
MEMORY = 16 << 30
"""Bytes of address space, most of which numerical libraries reserve and never touch."""
STARTING = 300.0
"""Seconds for the process to import reasoning-gym on a busy machine."""
LOADING = 600.0
"""Seconds for a data set and an entry to be made, each of which the process limits to half as many, before they count as hung."""
ENV = {
    "PYTHONHASHSEED": "0",  # some generators take elements out of sets
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


class Worker:
    """One process, started when it is first asked. Threads take turns.

    Generators seed global random states, print, and depend on the order of sets; scorers may compute for hours. All of that
    stays in the process. What ends two of them is the request's doing.
    """

    def __init__(self) -> None:
        self.process = workers.Worker(
            "reasoning-gym",
            "tenyson_reasoning_gym.worker.desk:Desk",
            env=ENV,
            attempts=2,
            memory=MEMORY,
            start_seconds=STARTING,
        )

    def names(self) -> dict[str, Any]:
        """The version of reasoning-gym, and the data sets with their numbers of levels."""
        found: dict[str, Any] = self._require("reasoning-gym", LOADING, "names")
        return found

    def check(self, name: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a data set's config, unknown keys of `config`, and what its validation says."""
        found: dict[str, Any] = self._require(name, LOADING, "check", name=name, config=dict(config))
        return found

    def level(self, name: str, config: Mapping[str, Any], level: int, mode: str) -> dict[str, Any]:
        """The config of a level. Raises: TaskError."""
        what = f"level {level} of {name}"
        found: dict[str, Any] = self._require(
            what, LOADING, "level", name=name, config=dict(config), level=level, mode=mode
        )
        return found

    def entries(
        self, name: str, config: Mapping[str, Any], indices: Sequence[int], seconds: float
    ) -> list[dict[str, Any]]:
        """Entries of a data set. Raises: TaskError: it raises, or one of them takes longer than `seconds`."""
        what = f"the data set {name}, entry {indices[0]}" + (f" to {indices[-1]}" if len(indices) > 1 else "")
        found: list[dict[str, Any]] = self._require(
            what,
            LOADING + 2 * seconds * len(indices),
            "entries",
            name=name,
            config=dict(config),
            indices=list(indices),
            seconds=seconds,
        )
        return found

    def score(
        self,
        name: str,
        config: Mapping[str, Any],
        index: int,
        digest: str,
        answer: str | None,
        seconds: float,
    ) -> float:
        """The score of an answer; 0 where scoring it takes longer than `seconds`, or ends the worker.

        Raises: TaskError: the entry cannot be generated again.
        """
        try:
            found = self._ask(
                LOADING + 2 * seconds,
                "score",
                name=name,
                config=dict(config),
                index=index,
                expected=digest,
                answer=answer,
                seconds=seconds,
            )
        except WorkerError as error:
            if error.kind in ("python", "start"):
                raise
            if error.kind != "raised":
                return 0.0
            raise TaskError(
                f"the data set {name}, entry {index}: {_words(error)}", next_step=_SAME_VERSION
            ) from None
        return float(found["score"])

    def close(self) -> None:
        """End the process, if there is one."""
        self.process.end()

    def _require(self, what: str, limit: float, verb: str, **request: Any) -> Any:
        try:
            return self._ask(limit, verb, **request)
        except WorkerError as error:
            if error.kind in ("python", "start"):
                raise
            over = error.kind != "raised" or error.raised == "TimeLimitError"
            step = _LIMIT if over else "Correct the arguments, or leave this data set out."
            raise TaskError(f"{what}: {_words(error)}", next_step=step) from None

    def _ask(self, limit: float, verb: str, /, **request: Any) -> Any:
        if self.process.pid is None and find_spec("reasoning_gym") is None:
            raise MissingDependencyError(
                "reasoning-gym", needed_for="the task reasoning-gym", install="reasoning-gym>=0.1.25,<0.2"
            )
        try:
            return self.process.ask(verb, limit, **request)
        except WorkerError as error:
            if error.kind == "start":
                error.next_step = 'Try: python -c "import reasoning_gym"'
            raise


def _words(error: WorkerError) -> str:
    return error.message if error.raised == "TimeLimitError" else error.cause[:500]


@cache
def worker() -> Worker:
    """That of this process."""
    return Worker()


_LIMIT = "Give easier arguments, or more time: task.args.entry_seconds."
_SAME_VERSION = "Use the version of reasoning-gym that the samples were made with."
