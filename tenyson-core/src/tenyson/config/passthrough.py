"""Passed through verbatim: the names under `trl`, `peft` and `engine_args` are checked before a job starts.

Importing TRL takes seconds, so this is called by jobs and by `tenyson config check --job`, never on loading.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Set
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tenyson.config.document import Document
from tenyson.config.engine_arguments import engine_arguments
from tenyson.config.explain import did_you_mean
from tenyson.config.impossible import impossible_values
from tenyson.errors import ConfigError, Problem

if TYPE_CHECKING:
    from tenyson.config.schema import Config

OWNED = {
    "trl": {
        "output_dir": "run.output_dir",
        "seed": "run.seed",
        "data_seed": "run.seed",
        "run_name": "run.id",
        "report_to": "telemetry.sinks",
        "resume_from_checkpoint": "training.resume_from_checkpoint",
        "save_total_limit": "training.save_total_limit",
        "push_to_hub": "hub.repo_id",
        "hub_model_id": "hub.repo_id",
        "hub_private_repo": "hub.private",
        "hub_token": "hub.token_env",
        "use_vllm": "generation.engine",
    },
    "engine_args": {
        "model": "model.name",
        "tokenizer": "model.name",
        "revision": "model.revision",
        "seed": "run.seed",
        "hf_token": "hub.token_env",
        "enable_lora": "model.adapter",
    },
}
"""Arguments that Tenyson gives itself, since resuming, results or secrets depend on them, and the key to use."""


def check_passthrough(config: Config, job_type: str, document: Document | None = None) -> None:
    """Refuse names that TRL, PEFT or the engine does not know. Imports torch.

    Raises:
        ConfigError: with the nearest valid names. A package that is not installed cannot be asked; see
            `passthrough_problems`, which says so.
    """
    errors = [
        problem for problem in passthrough_problems(config, job_type, document) if problem.severity == "error"
    ]
    if errors:
        raise ConfigError(errors)


def passthrough_problems(config: Config, job_type: str, document: Document | None = None) -> list[Problem]:
    """Wrong names under `trl`, `peft` and `engine_args`, and values that cannot work; a warning for each package that cannot be asked."""
    document = document or Document("", {})
    found: list[Problem] = []
    if config.trl and job_type != "eval":
        names = _fields("trl", "SFTConfig" if job_type == "sft" else "GRPOConfig")
        found += _unknown("trl", config.trl, names, "trl", document)
    if config.peft and job_type != "eval":
        found += _unknown("peft", config.peft, _fields("peft", "LoraConfig"), "peft", document)
    if job_type != "sft":
        found += engine_args_problems(config, document)
    named = {problem.key for problem in found}
    found += [one for one in impossible_values(config, job_type, document) if one.key not in named]
    return found


def engine_args_problems(config: Config, document: Document | None = None) -> list[Problem]:
    """Wrong names under `engine_args` for an engine of core; those of a plugin are checked by its settings model."""
    document = document or Document("", {})
    engine = config.generation.engine
    if not config.engine_args or engine not in ("auto", "vllm", "transformers"):
        return []
    if engine == "auto":
        # Which one is taken depends on the model and the machine, so either's arguments are let through.
        either = {*(engine_arguments("vllm") or ()), *(engine_arguments("transformers") or ())}
        return _unknown("engine_args", config.engine_args, either or None, "vllm or transformers", document)
    return _unknown("engine_args", config.engine_args, engine_arguments(engine), engine, document)


def _unknown(
    section: str, given: Iterable[str], names: Set[str] | None, package: str, document: Document
) -> list[Problem]:
    found = []
    owned = OWNED.get(section, {})
    for name in given:
        path = (section, name)
        if name in owned:
            found.append(document.problem(path, "is set by Tenyson itself", f"use {owned[name]}"))
        elif names is not None and name not in names:
            hint = did_you_mean(f"{section}.{name}", [f"{section}.{known}" for known in names - set(owned)])
            found.append(document.problem(path, f"no argument of {package}", hint))
    if names is None:
        warning = document.problem((section,), f"cannot be checked: {package} is not installed here")
        found.append(dataclasses.replace(warning, severity="warning"))
    return found


def _fields(package: str, cls: str) -> set[str] | None:
    if find_spec(package) is None:
        return None
    module = __import__(package, fromlist=[cls])
    return {field.name for field in dataclasses.fields(getattr(module, cls)) if field.init}
