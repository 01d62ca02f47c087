"""Checkpoints: what a training holds at a step, published as checkpoints/step-N, and put back for a resume.

`trainer_state.json`, `scheduler.pt` and `rng_state*.pth` are transformers' own files; weights and optimizer are safetensors
(`tenyson.jobs.checkpoints.snapshot`); `resume.json` says who wrote it, and `rank-R.json` holds what transformers forgets of a process.
Nothing in it is a pickle that runs code: what is no safetensors or JSON is read with `weights_only`.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel
from transformers.trainer_callback import ExportableState

from tenyson.jobs.checkpoints.extension import ExtensionMixin
from tenyson.jobs.checkpoints.hub import Hub
from tenyson.jobs.checkpoints.optimizer_state import load_optimizer, load_schedule
from tenyson.jobs.checkpoints.publication import (
    ANOTHER,
    MANIFEST,
    check,
    make_draft,
    newest_first,
    pin,
    publish,
    step_of,
    sweep,
)
from tenyson.jobs.checkpoints.resume import TRAINER_STATE
from tenyson.jobs.checkpoints.retention import prune
from tenyson.jobs.checkpoints.same_training import Changes
from tenyson.jobs.checkpoints.saver import Saver
from tenyson.jobs.checkpoints.snapshot import (
    OPTIMIZER,
    Snapshot,
    load_adapters,
    load_weights,
    write_configs,
)
from tenyson.jobs.models.integrity import RESUME, read_about, read_object, reading
from tenyson.jobs.runtime.world import largest
from tenyson.telemetry.events import strict_json

if TYPE_CHECKING:
    from tenyson.jobs.job import JobContext

_FULL = 2**20
"""Bytes: a disk with less room than this has none for a small file either."""


class CheckpointMixin(ExtensionMixin):
    """Makes a transformers Trainer save in the background, keep the newest and the best, and resume exactly."""

    # What the Trainer offers.
    state: Any
    args: Any
    model: Any
    control: Any
    optimizer: Any
    lr_scheduler: Any
    accelerator: Any
    callback_handler: Any
    processing_class: Any
    _metrics: dict[str, dict[str, list[float]]]
    _tr_loss: torch.Tensor

    def keep_checkpoints(
        self, context: JobContext, fingerprint: str, record: dict[str, Any], changes: Changes
    ) -> None:
        """Say whose checkpoints these are; before training."""
        self.checkpoints = context.folder.checkpoints
        self.failed_saves = 0
        """Checkpoints that could not be written."""
        self.hub = Hub(context)
        self._job = context
        self._fingerprint = fingerprint
        self._written_under = record
        self._accepted_changes = changes
        self._saver = Saver(self._could_not_save)
        self._snapshot = Snapshot()
        self._tokenizer_files = self.checkpoints / ".draft-tokenizer"
        self._to_restore: Path | None = None
        self._former: set[str] = set()
        """Names of checkpoints that this attempt does not continue from: of a former one, or damaged."""
        if context.world.leads:
            sweep(self.checkpoints)

    def own_state(self) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
        """What transformers does not keep of this process's training: plain data, and tensors."""
        return {
            "initial_step": self._initial_global_step,
            "loss_sum": self._tr_loss.item(),
            "loss_total": self._total_loss_scalar,
            "last_logged": self._globalstep_last_logged,
            "metrics": self._metrics["train"],
            "train_tokens": self._total_train_tokens,
            "task": self._job.task.state(),
        }, {}

    def restore_own_state(self, state: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:  # noqa: ARG002
        """Put that back, between the Trainer's own preparations and the first step."""
        self._initial_global_step = state["initial_step"]
        self._tr_loss.fill_(state["loss_sum"])
        self._total_loss_scalar = state["loss_total"]
        self._globalstep_last_logged = state["last_logged"]
        self._metrics["train"].update(state["metrics"])
        self._total_train_tokens = state["train_tokens"]
        self._job.task.restore(state["task"])

    # Saving

    def _get_output_dir(self, trial: Any) -> str:  # noqa: ARG002
        return str(self.checkpoints / ".draft-sharded")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._saver.wait()
        step = self.state.global_step
        final = self.checkpoints / f"step-{step}"
        draft = final.with_name(f".draft-{final.name}")
        best = str(final) if self.state.best_global_step == step else self.state.best_model_checkpoint
        # A fault of the task's own state is no fault of the disk: it ends the training.
        own, tensors = self.own_state()
        own_text = strict_json.dumps(own) + "\n"
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled  # type: ignore[attr-defined]
        if sharded:
            # Every process writes its part of weights and optimizer, so training waits for them.
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            draft = Path(self._get_output_dir(trial)) / f"checkpoint-{step}"
        else:
            self.store_flos()  # type: ignore[attr-defined]
            if not self._all_can(lambda: self.args.should_save and make_draft(final), draft):
                return
        # transformers' own save names a folder of its own.
        self.state.best_model_checkpoint = best
        if not self._all_can(lambda: self._write_small_files(draft, sharded, own_text, tensors), draft):
            return
        if not self.args.should_save:
            return
        if not sharded:
            self._snapshot.take(self.accelerator.unwrap_model(self.model), self.optimizer)
        self._saver.start(partial(self._finish, draft, final, Path(best) if best else None, sharded))
        if not self._job.config.training.save_in_background:
            self._saver.wait()

    def _all_can(self, write: Callable[[], object], draft: Path) -> bool:
        """Write something; whether it came to the disk on every process. If not, they all give the draft up together."""
        error: Exception | None = None
        try:
            write()
        except Exception as caught:  # of torch and tokenizers a full disk is no OSError
            error = caught
        if not any(largest([error is not None])):
            return True
        if self.args.should_save:
            if not isinstance(error, OSError) and shutil.disk_usage(self.checkpoints).free < _FULL:
                error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            for path in (draft, self._tokenizer_files):
                shutil.rmtree(path, ignore_errors=True)
            self._could_not_save(error or OSError("another process could not write its part"))
        return False

    def _write_small_files(
        self, draft: Path, sharded: bool, own: str, tensors: dict[str, torch.Tensor]
    ) -> None:
        """The part that training waits for: what each process knows, and what rank 0 says of all."""
        from safetensors.torch import save_file

        rank = self.args.process_index
        (draft / f"rank-{rank}.json").write_text(own, encoding="utf-8")
        if tensors:
            save_file(tensors, draft / f"rank-{rank}.safetensors")
        if not sharded:
            self._save_rng_state(str(draft))  # type: ignore[attr-defined]
        if not self.args.should_save:
            return
        for callback in (*self.callback_handler.callbacks, self.control):
            if isinstance(callback, ExportableState):
                name, kept = type(callback).__name__, self.state.stateful_callbacks
                if isinstance(kept[name], list):
                    kept[name].append(callback.state())
                else:
                    kept[name] = callback.state()
        state, not_finite = strict_json.separate(asdict(self.state))
        (draft / TRAINER_STATE).write_text(
            json.dumps(state, indent=2, sort_keys=True) + "\n", encoding="utf-8"
        )
        about = {
            "format": 1,
            "step": self.state.global_step,
            "run_id": self._job.run_id,
            "processes": self.args.world_size,
            "extended_steps": self.extended_steps,
            "fingerprint": self._fingerprint,
            "seed": self._job.config.run.seed,
            "training": self._written_under,
            # transformers refuses a key that it does not know in its own file.
            "trainer_state_not_finite": not_finite,
        }
        (draft / RESUME).write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
        if sharded:
            return
        torch.save(self.lr_scheduler.state_dict(), draft / "scheduler.pt")
        self._save_scaler(str(draft))  # type: ignore[attr-defined]
        write_configs(self.accelerator.unwrap_model(self.model), draft)
        if not self._tokenizer_files.is_dir():
            # Once, and by this thread: a tokenizer is not for two at a time.
            self.processing_class.save_pretrained(self._tokenizer_files)

    def _finish(self, draft: Path, final: Path, best: Path | None, sharded: bool) -> None:
        """The part that training does not wait for."""
        try:
            if not sharded:
                self._snapshot.write(draft)
                shutil.copytree(self._tokenizer_files, draft, dirs_exist_ok=True)
            publish(draft, final)
            self._former.discard(final.name)
        except BaseException:
            # Whatever it was (of safetensors a full disk is no OSError): drafts that stay would fill the disk.
            shutil.rmtree(draft, ignore_errors=True)
            raise
        training = self._job.config.training
        prune(self.checkpoints, training, newest=final, best=best, former=self._former)
        self.hub.offer_checkpoint(final, best)

    def _could_not_save(self, error: Exception) -> None:
        self.failed_saves += 1
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        reason = reason.partition("\n")[0] or type(error).__name__
        newest = next(newest_first(self.checkpoints), None)
        self._job.say(
            f"a checkpoint was not written: {reason}. Training continues; the newest one is "
            f"{newest.name if newest else 'none yet'}",
            "warning",
        )

    # Resuming

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        model, checkpoint = model or self.model, Path(resume_from_checkpoint)
        if self.is_fsdp_enabled or not (checkpoint / OPTIMIZER).is_file():  # type: ignore[attr-defined]
            with reading(checkpoint, ANOTHER):
                super()._load_from_checkpoint(resume_from_checkpoint, model)  # type: ignore[misc]
        elif isinstance(model, PeftModel):
            load_adapters(model, checkpoint)
        else:
            load_weights(model, checkpoint)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not (path := Path(checkpoint) / OPTIMIZER).is_file():
            with reading(Path(checkpoint or "") / "optimizer.pt", ANOTHER):
                super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
            return
        wanted = load_optimizer(self.optimizer, path, self._accepted_changes)
        with reading(schedule := Path(checkpoint) / "scheduler.pt", ANOTHER):
            load_schedule(self.lr_scheduler, torch.load(schedule, weights_only=True), wanted)

    def _load_rng_state(self, checkpoint: str | None) -> None:
        with reading(Path(checkpoint or "") / "rng_state.pth", ANOTHER):
            super()._load_rng_state(checkpoint)  # type: ignore[misc]

    def _load_scaler(self, checkpoint: str | None) -> None:
        with reading(Path(checkpoint or "") / "scaler.pt", ANOTHER):
            super()._load_scaler(checkpoint)  # type: ignore[misc]

    def _load_callback_state(self) -> None:
        with reading(Path(self._to_restore or "") / TRAINER_STATE, ANOTHER):
            super()._load_callback_state()  # type: ignore[misc]

    def _run_epoch(self, **arguments: Any) -> None:
        self._restore_all()
        if self.state.global_step >= self.state.max_steps:
            # A finished run that is resumed: transformers would train one step more.
            self.control.should_training_stop = True
            return
        super()._run_epoch(**arguments)  # type: ignore[misc]

    def _finalize_training(self, *arguments: Any) -> Any:
        self._restore_all()  # for a run whose epochs are all over: its mean loss is that of all its steps
        return super()._finalize_training(*arguments)  # type: ignore[misc]

    def _restore_all(self) -> None:
        """Put back, once, what the checkpoint keeps beyond what transformers restores by itself."""
        checkpoint, self._to_restore = self._to_restore, None
        if checkpoint is not None:
            self._restore_numbers(read_about(checkpoint).get("trainer_state_not_finite"))
            self._find_best(checkpoint)
            self._restore(checkpoint)

    def resume(self, checkpoint: Path | None) -> Any:
        """Train, from a checkpoint where there is one; what transformers' `train` returns."""
        begun = 0
        if checkpoint is not None and checkpoint.parent.resolve() == self.checkpoints.resolve():
            begun = step_of(checkpoint)
        self._former = {path.name for path in newest_first(self.checkpoints) if step_of(path) > begun}
        if checkpoint is not None:
            self._to_restore = checkpoint
            self.extended_steps = read_about(checkpoint).get("extended_steps", 0)
        try:
            return self.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)  # type: ignore[attr-defined]
        finally:
            self._saver.wait()
            if self._job.world.leads:
                sweep(self.checkpoints)

    def _restore(self, checkpoint: Path) -> None:
        from safetensors.torch import load_file

        path = checkpoint / f"rank-{self.args.process_index}.json"
        if not path.is_file():
            self._job.say(f"{checkpoint} was not written by Tenyson, so the resume is not exact", "warning")
            return
        tensors = path.with_suffix(".safetensors")
        with reading(tensors, ANOTHER):
            held = load_file(tensors) if tensors.is_file() else {}
        with reading(path, ANOTHER):
            self.restore_own_state(read_object(path), held)

    def _restore_numbers(self, not_finite: Any) -> None:
        """What of transformers' state is not finite, such as the loss of a training that diverges."""
        for name in ("log_history", "best_metric"):
            found = strict_json.restore({name: getattr(self.state, name)}, not_finite)
            setattr(self.state, name, found[name])

    def _find_best(self, resumed: Path) -> None:
        """Of all paths of the best checkpoint, take the one beside the resumed one: a job folder may have moved."""
        step = self.state.best_global_step
        if not step:
            return
        best = resumed.parent / f"step-{step}"
        if best.is_dir():
            self.state.best_model_checkpoint = str(best)
            if self._job.world.leads and best.parent.resolve() != self.checkpoints.resolve():
                pin(best, self._job.run_id)
        elif self.state.best_model_checkpoint is None:  # transformers did not find it where it was either
            self._job.say(
                f"the best checkpoint, {best.name}, is not there: unless a later one is better, the "
                "last weights are the result",
                "warning",
            )

    def _load_best_model(self) -> None:
        self._saver.wait()
        best = Path(self.state.best_model_checkpoint)
        fault = "is not there" if not best.is_dir() else None
        if not fault and (best / MANIFEST).is_file() and (damage := check(best)):
            fault = f"is damaged: {damage}"
        if fault is None:
            self._load_from_checkpoint(str(best))
            return
        self.state.best_model_checkpoint = None
        self._job.say(
            f"the best checkpoint, {best.name}, {fault}; the last weights are the result", "warning"
        )
