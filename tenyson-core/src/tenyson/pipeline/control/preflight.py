"""Preflight of a whole pipeline: every step is examined before the first one starts.

An RL step that its own preflight would refuse costs hours of SFT, where it is found out only then.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenyson.core.stdio import say
from tenyson.errors import PipelineError
from tenyson.jobs.runtime.quiet import missing_libraries
from tenyson.pipeline.graph.definition import Definition

SECONDS = 900.0
"""So long it may take at most; then the steps are left to their own preflight."""
SOURCE = ("name", "revision", "factory", "factory_args", "adapter")
"""Keys of `model` that say where weights come from."""
_LATER = ("model", "checkpoint", "disk")
"""Checks that look at what an earlier step may still make."""
_TRIED = ("environment", "tools", "agent", "rewards")
"""Checks that run the task's code."""
_PASSING = ("FileNotFoundError", "Connection", "TimeoutError", "no answer within", "no slot is free")
"""What they may find now, and not once the step starts: a file of an earlier step, a server that is away."""


def check_ahead(definitions: Sequence[Definition], backend: Any) -> None:
    """Examine all steps of a new pipeline that runs on this machine by Tenyson's own runner.

    Raises: PipelineError: a step would be refused by its own preflight; nothing was started.
    """
    from tenyson.cloud.local.backend import RUNNER, LocalBackend

    own = isinstance(backend, LocalBackend) and backend.runner == RUNNER
    if len(definitions) < 2 or not own or missing_libraries():
        return
    say(f"preflight: looking at all {len(definitions)} steps before the first one starts")
    found = _examined(definitions)
    refused = [
        f"step {one.label}: {finding['check']}: {finding['cause']}. {finding['next_step']}".rstrip(". ")
        for one in definitions
        for finding in found.get(one.label, ())
        if finding["severity"] == "error" and is_certain(finding)
    ]
    if refused:
        raise PipelineError(
            "nothing was started, since preflight would refuse a step: " + "; ".join(refused),
            next_step="`tenyson doctor --config FILE` shows all that it finds; run.allow: [CHECK] of the step lets a check pass.",
        )


def standing_in(
    config: Mapping[str, Any],
    model_from: str | None,
    checkpoint_from: str | None,
    seen: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """A step's configuration on the model that the steps before it start from: what they train is not there yet.

    Args:
        seen: what earlier steps were examined with, by label.
    """
    config = dict(config)
    if model_from is not None:
        source = seen[model_from]
        if config["model"].get("adapter") and config["peft"] is None:
            config["peft"] = source["peft"]
        config["model"] = {**config["model"], **{key: source["model"][key] for key in SOURCE}}
    if checkpoint_from is not None:
        config["training"] = {**config["training"], "resume_from_checkpoint": None}
    return config


def _examined(definitions: Sequence[Definition]) -> dict[str, list[dict[str, Any]]]:
    """What is found in each step, by label; of those whose values an earlier step gives, nothing."""
    steps, seen = [], dict[str, Mapping[str, Any]]()
    for one in definitions:
        config = standing_in(one.spec.config, one.model_from, one.checkpoint_from, seen)
        seen[one.label] = config
        if not one.late:
            steps.append(
                {"label": one.label, "job": one.spec.job_type, "task": one.spec.task, "config": config}
            )
    with tempfile.TemporaryDirectory() as folder:
        asked, found = Path(folder, "steps.json"), Path(folder, "found.json")
        asked.write_text(json.dumps(steps), encoding="utf-8")
        command = [sys.executable, "-m", "tenyson.pipeline.control.examine", str(asked), str(found)]
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
            )
            if done.returncode == 0:
                examined: dict[str, list[dict[str, Any]]] = json.loads(found.read_text(encoding="utf-8"))
                return examined
            lines = done.stderr.decode(errors="replace").strip().splitlines()
            trouble = lines[-1] if lines else f"exit status {done.returncode}"
        except subprocess.TimeoutExpired:
            trouble = f"it took longer than {SECONDS:.0f} s"
    say(f"warning: the steps could not be looked at beforehand, and each is when it starts: {trouble}")
    return {}


def is_certain(finding: Mapping[str, Any]) -> bool:
    """Whether a step will be refused for it whatever the steps before it leave: a file that is read may come from them."""
    cause = str(finding["cause"])
    if finding["check"] in _TRIED:
        return not any(word in cause for word in _PASSING)
    if finding["check"] == "samples":
        return " raises" not in cause and not (cause.startswith("the task has no ") and "samples" in cause)
    return finding["check"] not in _LATER
