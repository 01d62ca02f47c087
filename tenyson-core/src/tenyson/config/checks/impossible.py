"""The impossible: values of `training`, `generation`, `trl` and `peft` that end in an error of a library once a model is loaded.

They are told by `tenyson config check --job`, by doctor, and by the job before it loads anything. What needs the model's shape
or its tokenizer is checked in `tenyson.jobs.preflight.fitting`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.config.checks.endpoint import endpoint_problems
from tenyson.config.checks.hints import fits, in_words, names_of
from tenyson.config.document import Document
from tenyson.config.explain import did_you_mean
from tenyson.errors import Problem

if TYPE_CHECKING:
    from tenyson.config.checks.trl_arguments import TrlArguments
    from tenyson.config.schema import Config
    from tenyson.plugins.job_kind import JobKind

ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")
_KWARGS = {
    "cosine_with_min_lr": "{min_lr_rate: 0.1}",
    "cosine_warmup_with_min_lr": "{min_lr_rate: 0.1}",
    "warmup_stable_decay": "{num_decay_steps: 100}",
}
_ABOVE_ZERO = (
    "per_device_train_batch_size", "per_device_eval_batch_size", "gradient_accumulation_steps", "num_train_epochs",
    "num_iterations", "max_completion_length", "max_length", "steps_per_generation", "generation_batch_size",
    "repetition_penalty", "delta", "ref_model_sync_steps",
)  # fmt: skip
_NOT_BELOW_ZERO = (
    "top_k", "neftune_noise_alpha", "dataloader_num_workers", "max_grad_norm", "weight_decay", "learning_rate", "adam_epsilon",
    "beta", "epsilon", "epsilon_high",
)  # fmt: skip
_PROPORTIONS = (
    "top_p", "min_p", "top_entropy_quantile", "adam_beta1", "adam_beta2", "label_smoothing_factor", "ref_model_mixup_alpha",
)  # fmt: skip
_CHECKPOINTING = (
    "use_reentrant",
    "preserve_rng_state",
    "context_fn",
    "determinism_check",
    "debug",
    "early_stop",
)
_CHOICES = {
    "scale_rewards": ("group", "batch", "none"),
    "importance_sampling_level": ("token", "sequence"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
    "vllm_mode": ("colocate", "server"),
}
"""Of TRL's arguments that are plain text to Python; TRL looks at them in the first step."""


def impossible_values(config: Config, kind: JobKind, document: Document) -> list[Problem]:
    """What cannot work, whatever the model and the machine."""
    found = list(_output_folder(config, document))
    found += _attention(config, document)
    found += endpoint_problems(config, kind, document)
    if not kind.trains:
        return found
    arguments: TrlArguments | None = kind.part("arguments")
    if kind.trl_config is not None:
        found += _types(config.trl, "trl", kind.trl_config, document)
    found += _types(config.peft or {}, "peft", "peft:LoraConfig", document)
    wrong = {problem.key for problem in found}
    rest = [*_numbers(config, document), *_schedule(config, document), *_evaluation(config, document)]
    rest += [*_loss(config, arguments.losses if arguments else (), document), *_adapter(config, document)]
    if arguments is not None and arguments.impossible is not None:
        rest += arguments.impossible(config, document)
    return found + [problem for problem in rest if problem.key not in wrong]


def _output_folder(config: Config, document: Document) -> Iterator[Problem]:
    path = Path(config.run.output_dir).expanduser()
    for place in (path, *path.parents):
        if place.is_dir():
            return
        if place.exists() or place.is_symlink():
            cause = f"{place} is no folder" if place != path else "is no folder"
            yield document.problem(
                ("run", "output_dir"), cause, "name a folder; it is made where there is none"
            )
            return


def _attention(config: Config, document: Document) -> Iterator[Problem]:
    name = config.model.attn_implementation
    if name is None or "/" in name:  # a kernel of the Hub
        return
    if name not in ATTENTION:
        hint = did_you_mean(name, list(ATTENTION)) or f"transformers has {', '.join(ATTENTION)}"
        yield document.problem(("model", "attn_implementation"), f"no attention is called {name!r}", hint)
        return
    package = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_3"}.get(name)
    if package and find_spec(package) is None:
        cause = f"{name} needs the package {package}, which is not installed here"
        problem = document.problem(("model", "attn_implementation"), cause, "install it there, or use sdpa")
        yield dataclasses.replace(problem, severity="warning")


def _types(given: Mapping[str, Any], section: str, target: str, document: Document) -> Iterator[Problem]:
    module, _, cls = target.partition(":")
    if not given or find_spec(module.partition(".")[0]) is None:
        return
    from typing import get_type_hints

    try:
        hints = get_type_hints(getattr(import_module(module), cls))
    except Exception:  # a version whose annotations cannot be read: the library itself will tell
        return
    for name, value in given.items():
        if name in hints and not fits(value, hints[name], name):
            cause = f"must be {in_words(hints[name])}, not {value!r:.60}"
            hint = did_you_mean(value, names_of(hints[name])) if isinstance(value, str) else ""
            yield document.problem((section, name), cause, hint or _as_number(value))


def _as_number(value: Any) -> str:
    """YAML reads 1e-4 as text: it wants a dot."""
    try:
        return f"write {float(value)!r} without quotes" if isinstance(value, str) else ""
    except ValueError:
        return ""


def _numbers(config: Config, document: Document) -> Iterator[Problem]:
    for name in _ABOVE_ZERO:
        value = config.trl.get(name)
        if value is not None and _is_number(value) and value <= 0:
            yield document.problem(("trl", name), f"must be above 0, not {value}")
    for name in _NOT_BELOW_ZERO:
        value = config.trl.get(name)
        if value is not None and _is_number(value) and value < 0:
            yield document.problem(("trl", name), f"must be at least 0, not {value}")
    for name in _PROPORTIONS:
        value = config.trl.get(name)
        if value is not None and _is_number(value) and not 0 <= value <= 1:
            yield document.problem(("trl", name), f"must be between 0 and 1, not {value}")


def _schedule(config: Config, document: Document) -> Iterator[Problem]:
    key = ("trl", "lr_scheduler_type") if "lr_scheduler_type" in config.trl else ("training", "lr_scheduler")
    name = config.trl.get("lr_scheduler_type", config.training.lr_scheduler)
    if find_spec("transformers") is None or not isinstance(name, str):
        return
    from transformers.trainer_utils import SchedulerType

    known = [one.value for one in SchedulerType]
    if name not in known:
        hint = did_you_mean(name, known) or f"transformers has {', '.join(known)}"
        yield document.problem(key, f"{name} is not a valid SchedulerType", hint)
        return
    if name == "reduce_lr_on_plateau" and config.training.eval_steps is None:
        yield document.problem(key, f"{name} looks at eval_loss", "set training.eval_steps")
        return
    if fault := _schedule_fault(name, config):
        example = _KWARGS.get(name)
        hint = (
            f"set trl.lr_scheduler_kwargs, such as {example}"
            if example
            else "look at trl.lr_scheduler_kwargs"
        )
        yield document.problem(key, f"{name} cannot be made: {fault}", hint)


def _schedule_fault(name: str, config: Config) -> str | None:
    """Make the schedule for a parameter of its own."""
    import torch
    from transformers import get_scheduler

    kwargs, rate = config.trl.get("lr_scheduler_kwargs"), config.training.learning_rate
    rate = config.trl.get("learning_rate", 1e-5 if rate is None else rate)
    steps = config.trl.get("max_steps") or config.training.max_steps or 1000
    warmup = config.trl.get("warmup_steps", config.training.warmup_steps)
    if not all(map(_is_number, (rate, steps, warmup))) or not isinstance(kwargs, (dict, type(None))):
        return None
    try:
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=rate)
        whole = int(warmup if warmup >= 1 else warmup * steps)
        get_scheduler(name, optimizer, whole, int(steps), scheduler_specific_kwargs=kwargs)
    except Exception as error:
        return str(error).strip().partition("\n")[0] or type(error).__name__
    return None


def _evaluation(config: Config, document: Document) -> Iterator[Problem]:
    if config.training.eval_steps is not None:
        return
    for name, off in (("eval_strategy", ("no", False)), ("eval_on_start", (False,)), ("do_eval", (False,))):
        value = config.trl.get(name)
        if value is not None and value not in off:
            cause = "there is no evaluation while training without training.eval_steps"
            yield document.problem(("trl", name), cause, "set training.eval_steps instead")


def _loss(config: Config, known: Collection[str], document: Document) -> Iterator[Problem]:
    for argument, choices in _CHOICES.items():
        value = config.trl.get(argument)
        if isinstance(value, str) and value not in choices:
            cause, hint = f"must be {' or '.join(choices)}, not {value!r}", did_you_mean(value, list(choices))
            yield document.problem(("trl", argument), cause, hint)
    kwargs = config.trl.get("gradient_checkpointing_kwargs")
    for name in kwargs if isinstance(kwargs, dict) else ():
        if name not in _CHECKPOINTING:
            hint = did_you_mean(str(name), list(_CHECKPOINTING))
            key = ("trl", "gradient_checkpointing_kwargs", str(name))
            yield document.problem(key, "no argument of torch.utils.checkpoint", hint)
    if config.trl.get("use_liger_kernel") and find_spec("liger_kernel") is None:
        cause = "needs the package liger-kernel, which is not installed here"
        problem = document.problem(("trl", "use_liger_kernel"), cause, "install it there, or leave it out")
        yield dataclasses.replace(problem, severity="warning")
    name = config.trl.get("loss_type")
    if known and isinstance(name, str) and name not in known:
        hint = did_you_mean(name, list(known)) or f"TRL has {', '.join(known)}"
        yield document.problem(("trl", "loss_type"), f"no loss is called {name!r}", hint)


def _adapter(config: Config, document: Document) -> Iterator[Problem]:
    peft = config.peft
    if not peft:
        return
    rank, dropout, alpha = peft.get("r", 8), peft.get("lora_dropout", 0), peft.get("lora_alpha", 8)
    if _is_number(rank) and rank < 1:
        yield document.problem(
            ("peft", "r"), f"must be at least 1, not {rank}", "leave `peft` out to train all weights"
        )
    if _is_number(dropout) and not 0 <= dropout < 1:
        yield document.problem(("peft", "lora_dropout"), f"must be from 0 to below 1, not {dropout}")
    if _is_number(alpha) and alpha == 0:
        yield document.problem(
            ("peft", "lora_alpha"), "scales the adapter by 0, so nothing is learnt", "such as 2 * r"
        )
    for name in ("target_modules", "modules_to_save"):
        value = peft.get(name)
        # As a module of its own, which modules_to_save makes it, its weights are the ones that are trained.
        if name == "target_modules" and "lm_head" in (
            [value] if isinstance(value, str) else value if isinstance(value, list) else []
        ):
            cause = "TRL computes probabilities from lm_head's own weights, so an adapter on it would not be trained"
            yield document.problem(
                ("peft", name), cause, "leave lm_head out, or name it in peft.modules_to_save"
            )
        if value in ([], "") and name == "target_modules":
            yield document.problem(("peft", name), "names no module", "such as all-linear")
    if str(peft.get("task_type", "CAUSAL_LM")).upper() != "CAUSAL_LM":
        yield document.problem(("peft", "task_type"), "must be CAUSAL_LM", "leave it out")
    if peft.get("inference_mode"):
        yield document.problem(("peft", "inference_mode"), "an adapter in it is not trained", "leave it out")


def sft_values(config: Config, document: Document) -> Iterator[Problem]:
    """Of SFT: what cannot work together."""
    trl = config.trl
    packs = trl.get("packing", config.training.packing)
    if trl.get("padding_free") and not packs:
        cause = "without packing the job itself sees whether the attention keeps samples of one row apart"
        hint = "leave it out, or set training.packing: true, which implies it"
        yield document.problem(("trl", "padding_free"), cause, hint)


def rl_values(config: Config, document: Document) -> Iterator[Problem]:
    """Of GRPO: what leaves it nothing to compare, or would break its rollouts."""
    trl, training, generation = config.trl, config.training, config.generation
    key = ("trl", "temperature") if "temperature" in trl else ("generation", "temperature")
    temperature = trl.get("temperature", generation.temperature)
    if _is_number(temperature) and temperature <= 0:
        cause = (
            "at temperature 0 all completions of a prompt are the same, so that GRPO has nothing to compare"
        )
        yield document.problem(key, cause, "set it above 0, such as 1.0")
    key = ("trl", "top_k") if "top_k" in trl else ("generation", "top_k")
    if trl.get("top_k", generation.top_k) == 1:
        cause = "with one token to choose from all completions of a prompt are the same: GRPO has nothing to compare"
        yield document.problem(key, cause, "0 is off")
    for name, edge in (("min_p", 1), ("top_p", 1e-6)):
        key = ("trl", name) if name in trl else ("generation", name)
        value = trl.get(name, getattr(generation, name))
        if _is_number(value) and (value >= edge if name == "min_p" else value < edge):
            cause = "leaves one token to choose from, so all completions of a prompt are the same: GRPO has nothing to compare"
            yield document.problem(key, cause, f"{0 if name == 'min_p' else 1} is off")
    beta = trl.get("beta", training.beta)
    if trl.get("sync_ref_model"):
        if not beta:
            cause, hint = "without a KL term there is no reference model to move", "set training.beta above 0"
            yield document.problem(("trl", "sync_ref_model"), cause, hint)
        elif config.peft is not None or config.model.adapter is not None:
            cause = "with an adapter the reference is the model without it, which does not move"
            yield document.problem(("trl", "sync_ref_model"), cause, "train all weights, or leave it out")
    if trl.get("remove_unused_columns"):
        cause = "TRL would remove the columns that tell which sample a completion belongs to"
        yield document.problem(("trl", "remove_unused_columns"), cause, "leave it out")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
