"""Checkpoints: written as checkpoints/step-N, named by LATEST, found again for a resume."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.errors import ModelError
from tenyson.jobs.extension import ExtensionMixin, save_extension

if TYPE_CHECKING:
    from tenyson.config.schema import Config

LATEST = "LATEST"


def find_checkpoint(reference: str, config: Config, checkpoints: Path) -> Path | None:
    """The directory that `training.resume_from_checkpoint` means; None where "latest" finds none yet.

    Raises:
        ModelError: it is no checkpoint, or cannot be fetched.
    """
    if reference == "latest":
        return latest_checkpoint(checkpoints)
    path = Path(reference).expanduser()
    if not path.is_dir():
        if reference.startswith((".", "/", "~")) or "/" not in reference:
            raise ModelError("there is no such checkpoint directory", place=reference)
        from tenyson.jobs.model import download

        path = Path(download(reference, config.hub.token_env))
    if (path / LATEST).is_file():
        path = path / (path / LATEST).read_text().strip()
    if not (path / "trainer_state.json").is_file():
        raise ModelError(
            "this directory is no checkpoint: it has no trainer_state.json",
            place=str(path),
            next_step="Give a checkpoints/step-N folder of an SFT or RL run.",
        )
    return path


def latest_checkpoint(checkpoints: Path) -> Path | None:
    """The checkpoint that LATEST names."""
    pointer = checkpoints / LATEST
    if not pointer.is_file():
        return None
    path = checkpoints / pointer.read_text().strip()
    return path if path.is_dir() else None


class CheckpointMixin(ExtensionMixin):
    """Makes a transformers Trainer publish checkpoints as step-N, by one rename, and keep the newest and the best."""

    checkpoints: Path
    keep: int | None
    """How many are kept; None for all."""

    # What the Trainer offers.
    state: Any
    args: Any

    def _get_output_dir(self, trial: Any) -> str:  # noqa: ARG002
        return str(self.checkpoints / ".draft")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        best_before = self.state.best_model_checkpoint
        super()._save_checkpoint(model, trial)  # type: ignore[misc]
        step = self.state.global_step
        final = self.checkpoints / f"step-{step}"
        best = self.checkpoints / f"step-{self.state.best_global_step}"
        if self.state.best_global_step == step:
            self.state.best_model_checkpoint = str(final)
        else:
            self.state.best_model_checkpoint = str(best) if best.is_dir() else best_before
        if not self.args.should_save:
            return
        draft = self.checkpoints / ".draft" / f"checkpoint-{step}"
        self.state.save_to_json(str(draft / "trainer_state.json"))
        save_extension(draft, self.extended_steps)
        if final.exists():
            _remove(final)
        draft.rename(final)
        pointer = self.checkpoints / f"{LATEST}.tmp"
        pointer.write_text(final.name + "\n")
        pointer.replace(self.checkpoints / LATEST)
        self._prune(final)

    def _prune(self, newest: Path) -> None:
        if self.keep is None:
            return
        found = sorted(self.checkpoints.glob("step-*"), key=lambda path: int(path.name.split("-")[1]))
        best = self.state.best_model_checkpoint
        others = [path for path in found if path != newest and str(path) != best]
        spare = self.keep - 1 - (1 if best and best != str(newest) else 0)
        for path in others[: len(others) - max(0, spare)]:
            _remove(path)


def _remove(path: Path) -> None:
    # Renamed first, so that a kill in the middle leaves no half checkpoint under a valid name.
    doomed = path.with_name(f".deleted-{path.name}")
    shutil.rmtree(doomed, ignore_errors=True)
    path.rename(doomed)
    shutil.rmtree(doomed)


def checkpoint_step(path: Path) -> int:
    """The optimizer step at which a checkpoint was written."""
    return int(json.loads((path / "trainer_state.json").read_text())["global_step"])
