"""What becomes of the arguments of trl.DPOConfig."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tenyson.config.checks.trl_arguments import TRAINER, TRAINER_NEEDS, TRAINER_REFUSED, TrlArguments
from tenyson.config.explain import did_you_mean

if TYPE_CHECKING:
    from tenyson.config.document import Document
    from tenyson.config.schema import Config
    from tenyson.errors import Problem

LOSSES = (
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired", "apo_zero",
    "apo_down", "discopop", "sft", "sigmoid_norm",
)  # fmt: skip
DIVERGENCES = ("reverse_kl", "forward_kl", "js_divergence", "alpha_divergence")
_OF_DIFFERENCES = frozenset(
    ["sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft"]
)
"""Losses that another divergence than reverse_kl is defined for."""
_SORTED = frozenset(["aot", "aot_unpaired"])
_SMOOTHED = frozenset(["robust", "exo_pair", "aot", "aot_unpaired"])


def dpo_values(config: Config, document: Document) -> Iterator[Problem]:
    """Values that end in an error of TRL once a model is loaded, or train nothing."""
    trl = config.trl
    losses = _losses(trl.get("loss_type", "sigmoid"))
    if unknown := next((name for name in losses if name not in LOSSES), None):
        hint = did_you_mean(str(unknown), list(LOSSES)) or f"TRL has {', '.join(LOSSES)}"
        yield document.problem(("trl", "loss_type"), f"no loss is called {unknown!r}", hint)
        return
    weights = trl.get("loss_weights")
    if isinstance(weights, list) and len(weights) != len(losses):
        cause = f"has {len(weights)} weights for {len(losses)} losses"
        yield document.problem(("trl", "loss_weights"), cause, "give one for each of trl.loss_type")
    yield from _numbers(trl, losses, document)
    divergence = trl.get("f_divergence_type", "reverse_kl")
    if isinstance(divergence, str) and divergence not in DIVERGENCES:
        cause = f"must be {' or '.join(DIVERGENCES)}, not {divergence!r}"
        yield document.problem(
            ("trl", "f_divergence_type"), cause, did_you_mean(divergence, list(DIVERGENCES))
        )
    elif divergence != "reverse_kl" and (others := sorted(set(losses) - _OF_DIFFERENCES)):
        yield document.problem(("trl", "f_divergence_type"), f"is not defined for the loss {others[0]}")
    if trl.get("use_weighting") and _SORTED & set(losses):
        cause = "cannot weigh pairs for a loss that sorts them (aot, aot_unpaired)"
        yield document.problem(("trl", "use_weighting"), cause, "leave it out, or use another loss")
    if trl.get("sync_ref_model"):
        if config.peft is not None or config.model.adapter is not None:
            cause = "with an adapter the reference is its base or a copy of it, which does not move"
            yield document.problem(("trl", "sync_ref_model"), cause, "train all weights, or leave it out")
        elif trl.get("precompute_ref_log_probs"):
            cause = "moves the reference, whose probabilities trl.precompute_ref_log_probs computes once"
            yield document.problem(("trl", "sync_ref_model"), cause, "leave one of the two out")


def _numbers(trl: dict[str, Any], losses: list[Any], document: Document) -> Iterator[Problem]:
    for name in ("beta", "discopop_tau"):
        value = trl.get(name)
        if value is not None and _is_number(value) and value <= 0:
            yield document.problem(("trl", name), f"must be above 0, not {value}")
    for name in ("ld_alpha", "label_smoothing"):
        value = trl.get(name)
        if value is not None and _is_number(value) and not 0 <= value <= 1:
            yield document.problem(("trl", name), f"must be between 0 and 1, not {value}")
    smoothing = trl.get("label_smoothing", 0.0)
    if not _is_number(smoothing):
        return
    if "exo_pair" in losses and smoothing == 0:
        cause = "the loss exo_pair needs trl.label_smoothing above 0"
        yield document.problem(("trl", "loss_type"), cause, "set trl.label_smoothing: 0.001")
    if "robust" in losses and 0.5 <= smoothing <= 1:
        cause = f"must be below 0.5 for the loss robust, not {smoothing}"
        yield document.problem(("trl", "label_smoothing"), cause)
    if 0 < smoothing <= 1 and not _SMOOTHED & set(losses):
        cause = f"has no effect without one of the losses {', '.join(sorted(_SMOOTHED))}"
        yield document.problem(("trl", "label_smoothing"), cause)


def _losses(given: Any) -> list[Any]:
    return list(given) if isinstance(given, (list, tuple)) else [given]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_REFERENCE = ("trl.sync_ref_model",)
_OWN = frozenset(
    [
        "disable_dropout", "discopop_tau", "f_alpha_divergence_coef", "f_divergence_type", "label_smoothing", "ld_alpha",
        "loss_weights", "precompute_ref_log_probs", "use_weighting",
    ]
)  # fmt: skip

DPO = TrlArguments(
    honoured=(TRAINER - {"average_tokens_across_devices", "shuffle_dataset"})
    | _OWN
    | frozenset(
        [
            "activation_offloading", "auto_find_batch_size", "beta", "precompute_ref_batch_size", "ref_model_mixup_alpha",
            "ref_model_sync_steps", "sync_ref_model", "train_sampling_strategy",
        ]
    ),
    refused=TRAINER_REFUSED
    | {
        "average_tokens_across_devices": ("means nothing here: the loss is a mean over pairs, not over tokens", ""),
        "dataset_num_proc": ("means nothing here: rows reach TRL as token ids", ""),
        "label_smoothing_factor": ("means nothing here: pairs have no labels", "use trl.label_smoothing"),
        "pad_token": (
            "would change the tokenizer that is saved with the trained model, which its own evaluation then refuses",
            "save a tokenizer with that token beside the model",
        ),
        "padding_free": ("is switched off in TRL's DPOTrainer", ""),
        "truncation_mode": ("means nothing here: longer rows lose their end", "use training.max_length"),
    },
    needs=TRAINER_NEEDS
    | {
        "discopop_tau": ("trl.loss_type",),
        "f_alpha_divergence_coef": ("trl.f_divergence_type",),
        "precompute_ref_batch_size": ("trl.precompute_ref_log_probs",),
        "ref_model_mixup_alpha": _REFERENCE,
        "ref_model_sync_steps": _REFERENCE,
    },
    decisive={name: f"trl.{name}" for name in ("beta", *sorted(_OWN - {"disable_dropout"}))},
    impossible=dpo_values,
)  # fmt: skip
"""Of trl.DPOConfig."""
