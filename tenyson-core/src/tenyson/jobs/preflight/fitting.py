"""What must fit the model before its weights are loaded: tokenizer, embeddings, attention, the modules of an adapter."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tenyson.config.checks.load_arguments import attribute_problems
from tenyson.config.checks.quantization import PACKAGES, QUANTIZATION, method_of, quantization_of
from tenyson.config.document import Document
from tenyson.config.explain import did_you_mean
from tenyson.errors import ConfigError, MissingDependencyError, ModelError, Problem
from tenyson.jobs.models.outline import embedded_tokens, learnt_positions, outline, try_outline

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.models.model import ModelSource
    from tenyson.plugins.job_kind import JobKind

_SHOWN = 3


def require_fitting(
    config: Config, source: ModelSource, tokenizer: Any, renderer: Renderer, kind: JobKind
) -> None:
    """Refuse what a model cannot work with.

    Raises:
        ModelError: the tokenizer has tokens that the model has no embeddings for.
        ConfigError: the attention cannot be had here, or PEFT cannot put such an adapter on this model.
    """
    if kind.trains:
        _require_machine(config)
        _require_attention(config, source)
    _require_load_args(config, source)
    model = try_outline(source, trust_remote_code=config.model.trust_remote_code)
    if model is None:
        return
    _require_embeddings(tokenizer, renderer, model, source)
    if kind.trains and config.peft is not None and source.adapter is None:
        _require_modules(config, source, model)


def positions(config: Config, source: ModelSource) -> int | None:
    """Tokens beyond which this model fails; None where it only gets worse."""
    model = try_outline(source, trust_remote_code=config.model.trust_remote_code)
    return None if model is None else learnt_positions(model)


def _require_machine(config: Config) -> None:
    import torch

    if config.trl.get("use_liger_kernel") and find_spec("liger_kernel") is None:
        raise _refused(
            "trl.use_liger_kernel",
            "needs the package liger-kernel, which is not installed here",
            "install it",
        )
    if config.trl.get("activation_offloading") and not torch.accelerator.is_available():
        cause = "moves activations from an accelerator's memory, and there is no accelerator here"
        raise _refused("trl.activation_offloading", cause, "leave it out")


def _require_load_args(config: Config, source: ModelSource) -> None:
    given, trust = source.load_args, config.model.trust_remote_code
    document = Document("", {})
    if found := list(
        attribute_problems(given, source.path, source.revision, document, trust_remote_code=trust)
    ):
        raise ConfigError(found)
    package = PACKAGES.get(method_of(quantization_of(given) or {}))
    if quantization_of(given) and package and find_spec(package) is None:
        key = f"model.load_args.{QUANTIZATION}"
        raise MissingDependencyError(package, needed_for=key, install=f"tenyson-core[{package}]")


def _require_attention(config: Config, source: ModelSource) -> None:
    name, trust = config.model.attn_implementation, config.model.trust_remote_code
    if name is None or try_outline(source, trust_remote_code=trust) is None:
        return
    try:
        outline(source, trust_remote_code=trust, attention=name)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise _refused(
            "model.attn_implementation",
            f"{name} cannot be used here: {reason}",
            "install what it needs, or use sdpa",
        ) from error


def _require_embeddings(tokenizer: Any, renderer: Renderer, model: Any, source: ModelSource) -> None:
    size = embedded_tokens(model)
    if size is None:
        return
    beyond = {token: index for token, index in tokenizer.get_vocab().items() if index >= size}
    special = set(tokenizer.all_special_tokens) | set(tokenizer.get_added_vocab())
    needed = {
        tokenizer.eos_token_id,
        tokenizer.pad_token_id,
        tokenizer.bos_token_id,
        *renderer.stop_token_ids,
    }
    # Some models ship a placeholder, such as Gemma 3's <image_soft_token>, that a text never holds.
    placeholders = {token for token in beyond if token in special and beyond[token] not in needed}
    decoder = getattr(tokenizer, "added_tokens_decoder", {})
    wrong = [
        token
        for token, index in sorted(beyond.items(), key=lambda item: item[1])
        if token not in placeholders or not getattr(decoder.get(index), "special", True)
    ]
    if wrong:
        shown = ", ".join(map(repr, wrong[:_SHOWN])) + (" ..." if len(wrong) > _SHOWN else "")
        raise ModelError(
            f"the tokenizer has {len(wrong)} tokens beyond the {size} that the model has embeddings for: {shown}",
            place=source.path,
            next_step="Use the tokenizer that came with the model, or name them in model.new_tokens, which gives them embeddings "
            "(resize_token_embeddings).",
        )


def _require_modules(config: Config, source: ModelSource, model: Any) -> None:
    from peft import get_peft_model

    from tenyson.jobs.models.adapter_config import new_adapter

    try:
        adapter = new_adapter(config, source)
    except ConfigError:
        return  # told as a mistake in the arguments
    if fault := _unmatched(config.peft or {}, model):
        key, cause, hint = fault
        raise _refused(f"peft.{key}", cause, hint)
    # How it begins needs weights; where it goes does not.
    adapter.init_lora_weights = True
    try:
        get_peft_model(copy.deepcopy(model), adapter)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        hint = "all-linear takes every linear layer but lm_head" if "odule" in reason else ""
        raise _refused("peft", f"PEFT cannot put this adapter on {source.path}: {reason}", hint) from error


def _unmatched(peft: Mapping[str, Any], model: Any) -> tuple[str, str, str] | None:
    """What PEFT takes in silence and puts nowhere: key, cause, suggestion."""
    modules = [name for name, _ in model.named_modules() if name]
    for key in ("modules_to_save", "rank_pattern", "alpha_pattern"):
        for name in peft.get(key) or ():
            pattern = rf"(.*\.)?({name})" if key.endswith("pattern") else rf"(.*\.)?{re.escape(str(name))}"
            try:
                found = any(re.fullmatch(pattern, module) for module in modules)
            except re.error as error:
                return key, f"{name!r} is no pattern: {error}", ""
            if not found:
                ends = sorted({module.rpartition(".")[2] for module in modules})
                return key, f"{name!r} names no module of this model", did_you_mean(str(name), ends)
    parameters = [name for name, _ in model.named_parameters()]
    for name in peft.get("target_parameters") or ():
        if not any(one == name or one.endswith(f".{name}") for one in parameters):
            return "target_parameters", f"{name!r} names no parameter of this model", ""
    tokens, size = peft.get("trainable_token_indices"), embedded_tokens(model)
    for indices in tokens.values() if isinstance(tokens, dict) else [tokens or ()]:
        beyond = [index for index in indices if not 0 <= index < (size or index + 1)]
        if beyond:
            cause = f"the model has no token {beyond[0]}: its embeddings hold {size}"
            return "trainable_token_indices", cause, ""
    if tokens and getattr(model.config, "tie_word_embeddings", False):
        cause = "this model ties lm_head to its embeddings, and TRL reads lm_head's own weights"
        return (
            "trainable_token_indices",
            cause,
            "modules_to_save: [embed_tokens] with ensure_weight_tying: true trains all of both",
        )
    return None


def _refused(key: str, cause: str, suggestion: str) -> ConfigError:
    return ConfigError([Problem(cause, key, suggestion=suggestion)])
