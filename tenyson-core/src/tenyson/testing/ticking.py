"""A job without training, in place of `python -m tenyson.runner`, for tests of where jobs run: `python -m tenyson.testing.ticking`.

It counts steps, writes real checkpoints, resumes from the latest, and saves and ends on SIGTERM or when the machine is preempted.
The value of step N depends on every step before it, so a log tells whether any was lost or done twice.

Of `task.args`: steps, seconds (of a step), save_every, pad (bytes in each checkpoint), fail_at (the step at which it fails),
reads (whether it logs the sum of its input model), records (whether it sends each step to the configured telemetry).
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tenyson.core.run_folder import RunFolder
from tenyson.jobs.checkpoints.publication import check, make_draft, newest_first, publish
from tenyson.jobs.result import JobResult
from tenyson.jobs.spec import resumes_latest
from tenyson.telemetry.control.file import has_notice

DEFAULTS = {
    "steps": 20, "seconds": 0.1, "save_every": 5, "pad": 0, "fail_at": 0, "reads": False, "records": False,
}  # fmt: skip


def lines(steps: int) -> list[str]:
    """What an uninterrupted job of so many steps logs."""
    value, found = "", []
    for step in range(1, steps + 1):
        value = _next(value, step)
        found.append(_line(step, value))
    return found


def sum_of(folder: Path) -> str:
    """SHA-256 of the names and contents of all files in a folder."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()


def last_of_each_step(log: Iterable[str]) -> list[str]:
    """What counts of a log in which steps may have been repeated: each step's last line, in order."""
    found = {int(line.split()[1]): line for line in log if line.startswith("step ")}
    return [found[step] for step in sorted(found)]


class Ticking:
    """The job."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config
        self.run_id = config["run"]["id"]
        self.folder = Path(config["run"]["output_dir"]) / self.run_id
        self.wanted = DEFAULTS | config["task"]["args"]
        self.step, self.value = 0, ""
        self.stop = ""
        self._checkpoints = RunFolder(self.folder).checkpoints
        if resumes_latest(config):
            self._resume()

    def run(self) -> int:
        """Count to the end; returns the exit status."""
        if self.wanted["reads"]:
            _print(f"read {sum_of(Path(self.config['model']['name']))}")
        with self._recording() as record:
            return self._count(record)

    def _count(self, record: Callable[[int], None]) -> int:
        while self.step < self.wanted["steps"]:
            if has_notice(self.folder):
                self.stop = "spot notice"
            if self.stop:
                return self._stopped()
            time.sleep(self.wanted["seconds"])
            self.step += 1
            self.value = _next(self.value, self.step)
            _print(_line(self.step, self.value))
            record(self.step)
            if self.step == self.wanted["fail_at"]:
                raise RuntimeError("told to fail here")
            if self.step % self.wanted["save_every"] == 0:
                self._save()
        text = json.dumps({"metrics": {}, "metadata": {"value": self.value}})
        RunFolder(self.folder).results.write_text(text, encoding="utf-8")
        self._result("success")
        return 0

    @contextlib.contextmanager
    def _recording(self) -> Iterator[Callable[[int], None]]:
        """Takes the number of each step, for the sinks that the configuration names."""
        if not self.wanted["records"]:
            yield lambda _step: None
            return
        from tenyson.config.load import parse_config
        from tenyson.telemetry.build import open_telemetry
        from tenyson.telemetry.events import AttemptBegan, MetricsLogged, RunFinished, RunStarted

        uid = uuid.uuid4().hex
        telemetry = open_telemetry(
            parse_config(self.config), self.folder, run_id=self.run_id, attempt_uid=uid
        )
        telemetry.emit(
            RunStarted(
                run_id=self.run_id, job_type="sft", task="ticking", config=self.config,
                output_dir=str(self.folder), total_steps=self.wanted["steps"], attempt_uid=uid,
            )
        )  # fmt: skip
        telemetry.emit(AttemptBegan(run_id=self.run_id, step=self.step))
        try:
            yield lambda step: telemetry.emit(
                MetricsLogged(run_id=self.run_id, phase="sft", step=step, values={"loss": 1 / step})
            )
            result = {"run_id": self.run_id, "status": "success"}
            telemetry.emit(RunFinished(run_id=self.run_id, status="success", result=result))
        finally:
            telemetry.close()

    def _stopped(self) -> int:
        about = {"reason": self.stop, "step": self.step, "time": time.time()}
        RunFolder(self.folder).stopped.write_text(json.dumps(about), encoding="utf-8")
        self._save()
        _print(f"{self.stop}: saved at step {self.step}")
        spot = True if self.stop == "spot notice" else None
        self._result("stopped", stop_reason=self.stop, spot_interruption=spot)
        return 130

    def _result(self, status: Any, **more: Any) -> None:
        result = JobResult(self.run_id, status, 1.0, metrics={"steps": self.step}, **more)
        result.save(RunFolder(self.folder).job_result)

    def _save(self) -> None:
        final = self._checkpoints / f"step-{self.step}"
        if final.exists():
            return
        draft = make_draft(final)
        text = json.dumps({"step": self.step, "value": self.value})
        (draft / "state.json").write_text(text, encoding="utf-8")
        (draft / "pad").write_bytes(b"\0" * self.wanted["pad"])
        publish(draft, final)

    def _resume(self) -> None:
        for path in newest_first(self._checkpoints):
            if check(path) is None:
                state = json.loads((path / "state.json").read_text(encoding="utf-8"))
                self.step, self.value = state["step"], state["value"]
                _print(f"resuming from step {self.step}")
                return


def main() -> int:
    """Takes the runner's flags."""
    import yaml

    parser = argparse.ArgumentParser()
    for flag in ("--job-type", "--config", "--task-module"):
        parser.add_argument(flag, required=True)
    config = yaml.safe_load(Path(parser.parse_args().config).read_text(encoding="utf-8"))
    job = Ticking(config)

    def end(_number: int, _frame: object) -> None:
        job.stop = "SIGTERM"

    signal.signal(signal.SIGTERM, end)
    return job.run()


def _next(value: str, step: int) -> str:
    return hashlib.sha256(f"{value} {step}".encode()).hexdigest()


def _line(step: int, value: str) -> str:
    return f"step {step} {value[:12]}"


def _print(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
