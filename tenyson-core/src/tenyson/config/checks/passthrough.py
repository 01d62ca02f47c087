"""Passed through verbatim: the names under `trl`, `peft` and `engine_args` are checked before a job starts.

Importing TRL takes seconds, so this is called by jobs and by `tenyson config check --job`, never on loading.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Set
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from tenyson.config.checks.engine_arguments import engine_arguments, sampling_arguments
from tenyson.config.checks.impossible import impossible_values
from tenyson.config.checks.load_arguments import load_argument_problems
from tenyson.config.checks.supported import (
    ENGINE_REFUSED,
    PEFT_HONOURED,
    PEFT_NEEDS,
    PEFT_REFUSED,
    PEFT_VALUES,
    VLLM_IN_RL,
)
from tenyson.config.checks.trl_arguments import TrlArguments
from tenyson.config.document import Document
from tenyson.config.explain import did_you_mean
from tenyson.errors import ConfigError, Problem

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.plugins.job_kind import JobKind

_LORA = "peft:LoraConfig"
_OF_PEFT = TrlArguments(honoured=PEFT_HONOURED, refused=PEFT_REFUSED, needs=PEFT_NEEDS)

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
        "max_length": "training.max_length",
        "packing": "training.packing",
        "eval_steps": "training.eval_steps",
        "save_steps": "training.save_steps",
        "trust_remote_code": "model.trust_remote_code",
        "chat_template_kwargs": "model.chat_template_kwargs",
        "hub_always_push": "hub.checkpoints",
        "hub_strategy": "hub.checkpoints",
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


def check_passthrough(
    config: Config, kind: JobKind, document: Document | None = None, *, engine: str | None = None
) -> None:
    """Refuse names that TRL, PEFT or the engine does not know, and those that would have no effect. Imports torch.

    Args:
        engine: the engine that was chosen, where `generation.engine` leaves it open.

    Raises:
        ConfigError: with the nearest valid names, or the key to use. A package that is not installed cannot be asked; see
            `passthrough_problems`, which says so.
    """
    found = passthrough_problems(config, kind, document, engine=engine)
    if errors := [problem for problem in found if problem.severity == "error"]:
        raise ConfigError(errors)


def passthrough_problems(
    config: Config, kind: JobKind, document: Document | None = None, *, engine: str | None = None
) -> list[Problem]:
    """Wrong or idle names under `trl`, `peft` and `engine_args`, and values that cannot work; a warning for each package that cannot be
    asked."""
    document = document or Document("", {})
    engine = engine or config.generation.engine
    found: list[Problem] = []
    if config.trl and kind.trl_config is not None:
        found += _unknown("trl", config.trl, _fields(kind.trl_config), "trl", document)
    if config.peft and kind.trains:
        found += _unknown("peft", config.peft, _fields(_LORA), "peft", document)
    plays = kind.trains and kind.generates
    if plays and engine == "vllm":
        found += _of_trls_vllm(config, document)
    elif kind.generates:
        found += engine_args_problems(config, document, engine)
    if plays and isinstance(given := config.trl.get("generation_kwargs"), dict):
        found += _of_engine(("trl", "generation_kwargs"), given, engine, config, document)
    found += load_argument_problems(config, kind, document, engine=engine)
    named = {problem.key for problem in found}
    found += [one for one in impossible_values(config, kind, document) if one.key not in named]
    named = {problem.key for problem in found}
    return found + [one for one in _idle(config, kind, document) if one.key not in named]


def engine_args_problems(
    config: Config, document: Document | None = None, engine: str | None = None
) -> list[Problem]:
    """Wrong names under `engine_args` for an engine of core; those of a plugin are checked by its settings model."""
    document, engine = document or Document("", {}), engine or config.generation.engine
    if not config.engine_args or engine not in ("auto", "vllm", "transformers"):
        return []
    return list(_of_engine(("engine_args",), config.engine_args, engine, config, document))


def _of_engine(
    section: tuple[str, ...], given: Mapping[str, Any], engine: str, config: Config, document: Document
) -> Iterator[Problem]:
    """Problems of arguments of an engine, as it is built or as it generates."""
    known = engine_arguments if section == ("engine_args",) else sampling_arguments
    # Which one `auto` takes depends on the model and the machine, so either's arguments are let through.
    engines = ["vllm", "transformers"] if engine == "auto" else [engine]
    names = frozenset[str]().union(*(known(one) or () for one in engines)) or None
    rest = []
    for name, value in given.items():
        key = (*section, name)
        common = name in type(config.generation).model_fields
        if name in ENGINE_REFUSED:
            yield document.problem(key, *ENGINE_REFUSED[name])
        elif common and (names is not None and name not in names):
            yield document.problem(key, f"no argument of {engine}", f"use generation.{name}")
        elif common and getattr(config.generation, name) not in (_default(config, name), value):
            yield document.problem(key, "is given twice, with two values", f"use generation.{name}")
        else:
            rest.append(name)
    yield from _unknown(".".join(section), rest, names, " or ".join(engines), document)


def _default(config: Config, name: str) -> Any:
    return type(config.generation).model_fields[name].default


def _of_trls_vllm(config: Config, document: Document) -> Iterator[Problem]:
    """In RL the vLLM engine is TRL's, which takes few arguments."""
    for name in config.engine_args:
        theirs = VLLM_IN_RL.get(name)
        if theirs is None:
            known = ", ".join(sorted(VLLM_IN_RL))
            cause = "has no effect in RL with vLLM, which takes no such argument there"
            yield document.problem(("engine_args", name), cause, f"RL hands on {known}")
        elif config.trl.get(theirs, config.engine_args[name]) != config.engine_args[name]:
            yield document.problem(
                ("engine_args", name), "is given twice, with two values", f"use trl.{theirs}"
            )


def _idle(config: Config, kind: JobKind, document: Document) -> Iterator[Problem]:
    """Arguments that exist and would have no effect."""
    arguments: TrlArguments | None = kind.part("arguments")
    if arguments is not None:
        names = _fields(str(kind.trl_config)) if config.trl else None
        for name in config.trl:
            if problem := _ruled_on(("trl", name), config, names, arguments, document):
                yield problem
    if not kind.trains:
        return
    names = _fields(_LORA) if config.peft else None
    for name, value in (config.peft or {}).items():
        if problem := _ruled_on(("peft", name), config, names, _OF_PEFT, document):
            yield problem
        elif value in PEFT_VALUES.get(name, ()):
            cause = f"{value} is computed from data, which Tenyson does not do"
            yield document.problem(("peft", name), cause)


def _ruled_on(
    key: tuple[str, str], config: Config, names: Set[str] | None, arguments: TrlArguments, document: Document
) -> Problem | None:
    name = key[1]
    needed = arguments.needs.get(name, ())
    if name in arguments.refused:
        return document.problem(key, *arguments.refused[name])
    if names is not None and name not in arguments.honoured:
        cause = "is new in the installed version, and Tenyson does not know whether it would act"
        return document.problem(key, cause)
    if needed and not any(_is_set(config, other) for other in needed):
        return document.problem(key, f"has no effect without {' or '.join(needed)}")
    return None


def _is_set(config: Config, key: str) -> bool:
    section, _, name = key.partition(".")
    found = getattr(config, section)
    return bool((found or {}).get(name) if section in ("trl", "peft") else getattr(found, name))


def _unknown(
    section: str, given: Iterable[str], names: Set[str] | None, package: str, document: Document
) -> list[Problem]:
    found = []
    place, owned = tuple(section.split(".")), OWNED.get(section, {})
    for name in given:
        path = (*place, name)
        if name in owned:
            found.append(document.problem(path, "is set by Tenyson itself", f"use {owned[name]}"))
        elif names is not None and name not in names:
            hint = did_you_mean(f"{section}.{name}", [f"{section}.{known}" for known in names - set(owned)])
            found.append(document.problem(path, f"no argument of {package}", hint))
    if names is None:
        warning = document.problem(place, f"cannot be checked: {package} is not installed here")
        found.append(dataclasses.replace(warning, severity="warning"))
    return found


def _fields(target: str) -> set[str] | None:
    """Names that a dataclass "module:Class" takes; None where its package is not installed here."""
    module, _, cls = target.partition(":")
    if find_spec(module.partition(".")[0]) is None:
        return None
    return {field.name for field in dataclasses.fields(getattr(import_module(module), cls)) if field.init}
