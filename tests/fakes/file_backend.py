"""A backend whose machines are files: jobs take no process, outlive any controller, and every real start is written down.

A job does what `task.args.do` says, one word for each attempt ("fail succeed": the first attempt fails; "stop-by-hand",
"stop-early"), and takes `task.args.seconds`.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenyson.cloud.backend import BaseBackend, Estimate, Handle, Observation
from tenyson.errors import BackendError
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import JobSpec


class FileBackend(BaseBackend):
    """See the module."""

    name = "file"

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        (self.root / "machines").mkdir(parents=True, exist_ok=True)

    def validate(self, spec: JobSpec) -> None:
        """Everything can start."""

    def estimate(self, spec: JobSpec) -> Estimate:
        """A price, so that reports have a cost."""
        return Estimate(3.6, None, "made up")

    def submit(self, spec: JobSpec) -> Handle:
        """One start for each token; an attempt that was replaced does not start again."""
        with self._lock():
            if not self._path(spec.run_id, spec.token).exists():
                before = self.starts(spec.run_id)
                if any(time.time() < start["ends_at"] for start in before):
                    raise BackendError(f"{spec.run_id} runs already under another token")
                arguments = spec.config["task"]["args"]
                words = arguments.get("do", "succeed").split()
                # How often a folder was used, as the real jobs know it by what lies in it.
                do = words[min(len(before), len(words) - 1)]
                resumed = (spec.config.get("training") or {}).get("resume_from_checkpoint")
                self._write(
                    {
                        "run_id": spec.run_id, "token": spec.token, "do": do, "resumed": resumed, "begun": time.time(),
                        "ends_at": time.time() + arguments.get("seconds", 0.05),
                    },
                )  # fmt: skip
        return Handle(self.name, spec.run_id, {"token": spec.token})

    def starts(self, run_id: str = "*") -> list[dict[str, str]]:
        """Every real start, in order; of one run, or of all."""
        machines = (self.root / "machines").glob(f"{run_id}--*")
        return sorted((json.loads(path.read_text()) for path in machines), key=lambda start: start["begun"])

    def poll(self, handle: Handle) -> Observation:
        """By the clock."""
        machine = self._machine(handle)
        if time.time() < machine["ends_at"]:
            return Observation("running", observed=True)
        match machine["do"]:
            case "fail":
                return Observation("ended", observed=True, exit_code=1, detail="it failed")
            case "preempted":
                return Observation("ended", observed=True, exit_code=None, reason="preempted", preempted=True)
            case _:
                return Observation("ended", observed=True, exit_code=0)

    def stream_logs(self, handle: Handle, cursor: int = 0) -> Iterator[tuple[int, bytes]]:
        """Jobs say nothing."""
        return iter(())

    def fetch_outputs(self, handle: Handle, to: Path) -> None:
        """A result and a checkpoint, as a training leaves them."""
        (to / "checkpoints" / "step-1").mkdir(parents=True, exist_ok=True)
        (to / "adapter").mkdir(exist_ok=True)
        endings = {
            "succeed": None,
            "stop-by-hand": "manual stop",
            "stop-early": "early stopping on eval_loss",
        }
        if (do := str(self._machine(handle)["do"])) in endings:
            result = JobResult(handle.run_id, "success", 0.1, {"loss": 0.5}, stop_reason=endings[do])
            result.save(to / "job_result.json")

    def release(self, handle: Handle) -> None:
        """Nothing was rented."""

    def cancel(self, handle: Handle, grace_seconds: float) -> None:
        """The job ends now."""
        self._write({**self._machine(handle), "ends_at": 0.0})

    def terminate(self, handle: Handle) -> None:
        """As `cancel`."""
        self.cancel(handle, 0.0)

    def reattach(self, run_id: str) -> Handle | None:
        """Not needed here."""
        return None

    def list(self) -> list[Handle]:
        """Not needed here."""
        return []

    def _path(self, run_id: str, token: str) -> Path:
        return self.root / "machines" / f"{run_id}--{token}"

    def _write(self, machine: dict[str, object]) -> None:
        path = self._path(str(machine["run_id"]), str(machine["token"]))
        draft = path.with_name(f".{path.name}")
        draft.write_text(json.dumps(machine))
        draft.rename(path)

    def _machine(self, handle: Handle) -> dict[str, object]:
        return json.loads(self._path(handle.run_id, handle.data["token"]).read_text())

    @contextmanager
    def _lock(self) -> Iterator[None]:
        with (self.root / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
