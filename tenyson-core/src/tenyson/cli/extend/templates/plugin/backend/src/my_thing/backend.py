"""The backend: the local one, whose runner is started by nice(1)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tenyson.cloud.local.backend import RUNNER, LocalBackend


class MyThingBackend(LocalBackend):
    """Runs jobs on this machine with a lower priority."""

    name = "my-thing"

    def __init__(
        self,
        output_dir: str | Path = "./outputs",
        runner: Sequence[str] = RUNNER,
        niceness: int = 10,
    ) -> None:
        super().__init__(output_dir, ("nice", "-n", str(niceness), *runner))
        self._given = {"runner": list(runner), "niceness": niceness}

    @property
    def settings(self) -> dict[str, Any]:  # type: ignore[override]
        """What makes this backend again in another process, which continues what this one began."""
        return {"output_dir": str(self.output_dir), **self._given}
