"""Resume: which checkpoint a training continues from, and what is known of it before anything is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.core.run_folder import LATEST, RunFolder
from tenyson.errors import ModelError
from tenyson.jobs.checkpoints.publication import (
    ANOTHER,
    MANIFEST,
    check,
    newest_first,
    pin,
    require_whole,
)
from tenyson.jobs.models.integrity import checkpoint_fault, damaged_file, read_about, read_object
from tenyson.jobs.spec import RESUME_LATEST

if TYPE_CHECKING:
    from tenyson.jobs.job import JobContext
    from tenyson.jobs.models.model import ModelSource

TRAINER_STATE = "trainer_state.json"
"""transformers' own: steps, epochs, what was logged."""


def find_checkpoint(context: JobContext) -> Path | None:
    """The directory that `training.resume_from_checkpoint` means; says which, or that there is none yet.

    Of several processes all take the one that rank 0 finds. "latest" takes the newest whole one of this run, and names those
    that are damaged.

    Raises:
        ModelError: it is no checkpoint, is damaged, or cannot be fetched; or all those of the run are damaged.
    """
    reference = context.config.training.resume_from_checkpoint
    if reference is None:
        return None
    path = context.world.agree(locate_checkpoint(reference, context) if context.world.leads else None)
    if path is None:
        context.say("there is no checkpoint yet, so training starts from the beginning", "warning")
        return None
    about = read_about(path)
    context.say(f"resuming from step {checkpoint_step(path)}: {path}")
    if about and about["processes"] != context.world.size:
        context.say(
            f"the checkpoint was written by {about['processes']} processes and is resumed by {context.world.size}: weights and "
            "optimizer continue from it, but the order of the data and the random numbers differ",
            "warning",
        )
    seed = context.config.run.seed
    if about.get("seed", seed) != seed:
        context.say(
            f"the checkpoint was written with run.seed {about['seed']} and is resumed with {seed}: weights and optimizer "
            "continue from it, but the order of the data differs",
            "warning",
        )
    if context.world.leads and about.get("run_id") != context.run_id:
        pin(path, context.run_id)
    return path


def pin_inputs(context: JobContext, source: ModelSource) -> None:
    """Note in the checkpoints that a job takes its model or adapter from that they are to be kept."""
    for place in (source.path, source.adapter):
        if place is not None and context.world.leads:
            pin(Path(place), context.run_id)


def checkpoint_step(path: Path) -> int:
    """The optimizer step at which a checkpoint was written."""
    return int(read_object(path / TRAINER_STATE)["global_step"])


def locate_checkpoint(reference: str, context: JobContext) -> Path | None:
    """The directory that a reference means, downloaded where it is on the Hub; writes nothing into it. Raises: ModelError."""
    if reference == RESUME_LATEST:
        return _newest_whole(context.folder.checkpoints, context)
    path = Path(reference).expanduser()
    if not path.is_dir():
        if reference.startswith((".", "/", "~")) or "/" not in reference:
            raise ModelError("there is no such checkpoint directory", place=reference)
        from tenyson.jobs.models.model import download

        path = Path(download(reference, context.config.hub.token_env))
    for place in (path, RunFolder(path).checkpoints):  # the latter in a repository, or a job folder
        if (place / LATEST).is_file():
            return _newest_whole(place, context)
    if not (path / "trainer_state.json").is_file():
        raise ModelError(
            "this directory is no checkpoint: it has no trainer_state.json",
            place=str(path),
            next_step="Give a checkpoints/step-N folder of an SFT or RL run.",
        )
    if (path / MANIFEST).is_file():
        require_whole(path)
    else:
        context.say(
            f"{path} has no {MANIFEST}, so its files cannot be compared with what was written", "warning"
        )
    if fault := checkpoint_fault(path):
        name, _, reason = fault.partition(": ")
        raise damaged_file(path / name, reason, ANOTHER)
    return path


def _newest_whole(checkpoints: Path, context: JobContext) -> Path | None:
    damaged = []
    for path in newest_first(checkpoints):
        fault = check(path) or checkpoint_fault(path)
        if fault is None:
            return path
        damaged.append(f"{path.name}: {fault}")
        context.say(f"a checkpoint is damaged; the previous one is used instead: {path}: {fault}", "warning")
    if damaged:
        raise ModelError(
            f"every checkpoint is damaged: {'; '.join(damaged)}",
            place=str(checkpoints),
            next_step="Start from scratch without resume_from_checkpoint, or name another checkpoint.",
        )
    return None
