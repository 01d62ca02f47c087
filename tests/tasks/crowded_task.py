"""A task for tests that leaves a disk no room for the first checkpoint, and 4 kB more for each one after it.

The folder is in the variable CROWDED; from the 36th on, all of its room is free.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tenyson.tasks import Sample, TaskPlugin


class CrowdedTask(TaskPlugin):
    """Asked for its state once for each checkpoint, before anything of it is written."""

    name = "crowded"
    _asked = 0

    def sft_samples(self, split: str, seed: int) -> Iterator[Sample]:
        for index in range(64):
            yield Sample(
                id=str(index),
                prompt=[{"role": "user", "content": "a"}],
                completion=[{"role": "assistant", "content": "aaa"}],
            )

    def state(self) -> Mapping[str, Any]:
        if os.environ.get("RANK", "0") == "0":
            crowd = Path(os.environ["CROWDED"]) / "crowd"
            crowd.unlink(missing_ok=True)
            if self._asked < 35:
                disk = os.statvfs(crowd.parent)
                crowd.write_bytes(bytes(disk.f_bavail * disk.f_frsize - 4096 * self._asked))
            self._asked += 1
        return {}
