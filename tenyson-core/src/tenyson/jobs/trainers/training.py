"""What SFTJob and RLJob share around their trainers: arguments, adapters, resume, and saving what was trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tenyson.errors import TaskError
from tenyson.jobs.job import JobContext, Outcome
from tenyson.jobs.models.fingerprint import write_fingerprint
from tenyson.jobs.runtime.refusals import refusals

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.plugins.job_kind import JobKind


def build_arguments(
    cls: type[Any],
    arguments: dict[str, Any],
    config: Config,
    kind: JobKind,
    *,
    engine: str | None = None,
) -> Any:
    """Make TRL's argument object; a wrong name or value is a user's mistake, told before anything is loaded.

    Args:
        engine: the engine that was chosen, where `generation.engine` leaves it open.

    Raises:
        ConfigError: a name that TRL or PEFT does not know, or values that do not go together.
    """
    from tenyson.config.checks.passthrough import check_passthrough

    check_passthrough(config, kind, engine=engine)
    with refusals(f"{cls.__name__} refuses the training arguments"):
        return cls(**arguments)


def require_optimizer(arguments: Any) -> None:
    """Refuse an optimizer that cannot be had here, or takes other values. Raises: ConfigError."""
    from torch import zeros
    from torch.nn import Parameter
    from transformers import Trainer

    if arguments.deepspeed or arguments.optim_target_modules:
        return  # they are made of a model
    with refusals(
        f"the optimizer cannot be made (trl.optim: {getattr(arguments.optim, 'value', arguments.optim)})"
    ):
        kind, values = Trainer.get_optimizer_cls_and_kwargs(arguments)
        kind([Parameter(zeros(1))], **values)


def save_trained(
    context: JobContext, trainer: Any, tokenizer: Any, renderer: Renderer, metrics: Mapping[str, float]
) -> Outcome:
    """Write adapter/ or model/ with the tokenizer, push it where the configuration says so, and sum up the run."""
    from accelerate.utils import is_peft_model

    require_steps(context, trainer)
    model = trainer.accelerator.unwrap_model(trainer.model)
    directory = context.folder.adapter if is_peft_model(model) else context.folder.model
    if trainer.is_world_process_zero():
        if is_peft_model(model):
            # TRL adds a second adapter, "ref", for the KL term; only the trained one is the result.
            model.save_pretrained(directory, selected_adapters=["default"])
        else:
            model.save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        write_fingerprint(directory, renderer, context.run_id)
    history = trainer.state.log_history
    final = {
        name: value for name, value in metrics.items() if isinstance(value, (int, float)) and name != "epoch"
    }
    evaluations = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    if evaluations:
        final |= {"eval_loss": evaluations[-1], "best_eval_loss": min(evaluations)}
    repo_id, revision = trainer.hub.push_result(directory)
    ended_early = trainer.state.global_step < trainer.state.max_steps
    return Outcome(
        metrics=final,
        metadata={
            "steps": trainer.state.global_step,
            "epochs": trainer.state.epoch,
            "stopped_early": ended_early,
            "stop_reason": _why_early(context, evaluations) if ended_early else None,
            "best_checkpoint": trainer.state.best_model_checkpoint,
            "fingerprint": renderer.fingerprint(),
            "output": directory.name,
            "not_pushed": trainer.hub.not_pushed,
            "failed_saves": trainer.failed_saves,
        },
        hf_repo_id=repo_id,
        hf_revision=revision,
    )


def require_batches(trainer: Any) -> None:
    """Raises: TaskError: the samples do not fill one batch, so that there is nothing to train on."""
    if not len(trainer.get_train_dataloader()):
        raise TaskError(_NO_STEPS, next_step=_FEWER)


def require_steps(context: JobContext, trainer: Any) -> None:
    """Raises: TaskError: nothing was trained, although nobody has stopped the run."""
    if not trainer.state.global_step and not context.stop.requested:
        raise TaskError(_NO_STEPS, next_step=_FEWER)


_NO_STEPS = "not one step can be trained: the samples do not fill a batch"
_FEWER = (
    "Add samples, or lower training.batch_size or training.gradient_accumulation_steps; trl.dataloader_drop_last leaves out "
    "what fills none."
)


def _why_early(context: JobContext, evaluations: list[float]) -> str | None:
    """What ended training before its last step; None where nothing tells."""
    if context.stop.requested:
        return context.stop.reason
    training = context.config.training
    if not evaluations:
        return None
    if training.target_eval_loss is not None and evaluations[-1] <= training.target_eval_loss:
        return f"eval_loss reached {training.target_eval_loss:g}"
    return "early stopping on eval_loss" if training.early_stopping_patience is not None else None
