"""Passed through verbatim: the names under `trl`, `peft` and `engine_args` are checked before a job starts.

Importing TRL takes seconds, so this is called by jobs and by `tenyson config check --job`, never on loading.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from tenyson.config.document import Document
from tenyson.config.explain import did_you_mean
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
    """Wrong names under `trl`, `peft` and `engine_args`; a warning for each package that cannot be asked."""
    document = document or Document("", {})
    found: list[Problem] = []
    if config.trl and job_type != "eval":
        names = _fields("trl", "SFTConfig" if job_type == "sft" else "GRPOConfig")
        found += _unknown("trl", config.trl, names, "trl", document)
    if config.peft and job_type != "eval":
        found += _unknown("peft", config.peft, _fields("peft", "LoraConfig"), "peft", document)
    if config.engine_args and job_type != "sft":
        engine = config.generation.engine
        if engine == "auto":
            # Which one is taken depends on the model and the machine, so either's arguments are let through.
            either = (_vllm_arguments() or set()) | (_generate_arguments() or set())
            found += _unknown(
                "engine_args", config.engine_args, either or None, "vllm or transformers", document
            )
        elif engine in ("vllm", "transformers"):
            names = _vllm_arguments() if engine == "vllm" else _generate_arguments()
            found += _unknown("engine_args", config.engine_args, names, engine, document)
    return found


def _unknown(
    section: str, given: Iterable[str], names: set[str] | None, package: str, document: Document
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


def _vllm_arguments() -> set[str] | None:
    if find_spec("vllm") is None:
        return None
    from vllm import LLM
    from vllm.engine.arg_utils import EngineArgs

    own = {name for name in inspect.signature(LLM.__init__).parameters if name not in ("self", "kwargs")}
    return own | {field.name for field in dataclasses.fields(EngineArgs)}


def _generate_arguments() -> set[str] | None:
    if find_spec("transformers") is None:
        return None
    from transformers import GenerationConfig

    return {name for name in vars(GenerationConfig()) if not name.startswith("_")}
