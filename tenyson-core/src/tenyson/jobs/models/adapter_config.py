"""Adapter configs: `peft` describes a new adapter; beside `model.adapter` it must say what that adapter is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.config.checks.load_arguments import attributes
from tenyson.errors import ConfigError, Problem
from tenyson.jobs.runtime.refusals import refusals

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.jobs.models.model import ModelSource

FILE = "adapter_config.json"


def new_adapter(config: Config, source: ModelSource) -> Any:
    """The LoraConfig of a fresh adapter; None for full training, or where an adapter is continued.

    Raises:
        ConfigError: an adapter is continued, and `peft` says other than it is, or PEFT refuses its arguments.
    """
    require_same_adapter(config, source)
    if config.peft is None or source.adapter is not None:
        return None
    from peft import LoraConfig

    with refusals("peft.LoraConfig refuses its arguments"):
        return LoraConfig(**({"task_type": "CAUSAL_LM"} | config.peft))


def require_same_adapter(config: Config, source: ModelSource) -> None:
    """Refuse `peft` that says other than the adapter which is trained further: it would have no effect, and be recorded.

    Raises:
        ConfigError: a value differs.
    """
    if not config.peft or source.adapter is None:
        return
    try:
        made = json.loads((Path(source.adapter) / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # loading the adapter says what is wrong with it
    if not isinstance(made, Mapping):
        return
    problems = [
        Problem(
            f"{_shown(value)} has no effect: model.adapter has {_shown(made.get(name))} and is trained further as it is",
            key=f"peft.{name}",
            suggestion="leave out peft, or leave out model.adapter for a new adapter",
        )
        for name, value in config.peft.items()
        if name != "task_type" and not _same(name, value, made, source)
    ]
    if problems:
        raise ConfigError(problems)


def _same(name: str, value: Any, made: Mapping[str, Any], source: ModelSource) -> bool:
    if name not in made:
        return True  # an older PEFT did not write it
    if name == "target_modules" and value == "all-linear":
        linear, targets = _linear_modules(source), made[name]
        return linear is None or (
            isinstance(targets, list) and all(any(_names(one, layer) for one in targets) for layer in linear)
        )
    return bool(_plain(value) == _plain(made[name]))


def _names(target: Any, layer: str) -> bool:
    return layer == target or layer.endswith(f".{target}")


def _plain(value: Any) -> Any:
    """PEFT writes sets as lists in any order."""
    if isinstance(value, (list, tuple)) and all(isinstance(one, (str, int)) for one in value):
        return sorted(map(str, value))
    return value


def _shown(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)


def _linear_modules(source: ModelSource) -> set[str] | None:
    """Names of a model's linear layers but its head, as PEFT takes them for "all-linear"; None where it cannot be built."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                AutoConfig.from_pretrained(
                    source.path, revision=source.revision, **attributes(source.load_args)
                )
            )
    except Exception:
        return None
    head = model.get_output_embeddings()
    return {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
