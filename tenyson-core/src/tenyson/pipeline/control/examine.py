"""`python -m tenyson.pipeline.control.examine STEPS FOUND`: examine the jobs of a pipeline before its first one starts.

STEPS is a JSON list of {label, job, task, config}; FOUND gets {label: [finding, ...]}. In a process of its own: it imports the
training libraries, which a controller does without.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tenyson.errors import TenysonError
from tenyson.jobs.preflight.examine import Examination
from tenyson.jobs.runtime.finding import Finding
from tenyson.jobs.runtime.interpreter import collect_rarely, end_after_handlers
from tenyson.plugins.job_kinds import job_class
from tenyson.tasks.load import load_task


def main(steps: Path, found: Path) -> int:
    """Examine each step and write what was found."""
    findings = {one["label"]: _examine(one) for one in json.loads(steps.read_text(encoding="utf-8"))}
    text = {label: [asdict(one) for one in found] for label, found in findings.items()}
    found.write_text(json.dumps(text), encoding="utf-8")
    return 0


def _examine(step: dict[str, Any]) -> list[Finding]:
    try:
        task = load_task(step["task"], step["config"]["task"]["args"])
        examination = Examination(job_class(step["job"])(step["config"], task), shown=0)
    except TenysonError as error:
        return [Finding("task", "error", error.cause, error.next_step or "")]
    examination.run()
    return examination.findings


if __name__ == "__main__":
    collect_rarely()
    status: list[int] = []
    end_after_handlers(lambda: next(iter(status), None))
    status.append(main(*map(Path, sys.argv[1:])))
    sys.exit(status[0])
