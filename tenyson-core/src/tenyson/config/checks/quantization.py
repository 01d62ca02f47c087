"""Quantisation: what `model.load_args.quantization_config` says, checked by name against the installed library's own class.

A mapping with `load_in_4bit` or `load_in_8bit` is bitsandbytes', one with `quant_type` is torchao's; `quant_method` names another one of
transformers. torchao's `quant_type` is the name of one of its classes, or a mapping with that `name` and its arguments.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Any

from tenyson.config.document import Document
from tenyson.config.explain import did_you_mean
from tenyson.errors import Problem

QUANTIZATION = "quantization_config"
KEY = ("model", "load_args", QUANTIZATION)
METHOD = "quant_method"
PACKAGES = {"bitsandbytes": "bitsandbytes", "torchao": "torchao"}
"""What each method is installed as; tenyson-core has an extra of that name."""

_BOTH = ("load_in_8bit", "load_in_4bit")
_GROUP = 64
"""bitsandbytes' weights that share one scale."""


def method_of(given: Mapping[str, Any]) -> str:
    """The quantisation's method, such as "bitsandbytes"."""
    if METHOD in given:
        return str(given[METHOD])
    return "torchao" if "quant_type" in given else "bitsandbytes"


def bytes_each(given: Mapping[str, Any]) -> float:
    """Bytes that a weight of a linear layer takes, its share of scales included; 2 where it is not known."""
    if method_of(given) == "bitsandbytes":
        if given.get("load_in_4bit"):
            return 0.5 + (1 / _GROUP if given.get("bnb_4bit_use_double_quant") else 4 / _GROUP)
        return 1.0
    bits = re.search(r"(\d+)Weight", _class_name(given))
    return int(bits[1]) / 8 if bits else 2.0


def quantization_of(load_args: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The quantisation that load arguments ask for; None where they ask for none."""
    given = load_args.get(QUANTIZATION)
    return given if isinstance(given, Mapping) else None


def quantization_problems(
    given: Mapping[str, Any], document: Document, *, trains: bool, adapted: bool
) -> Iterator[Problem]:
    """What the installed library does not know, or cannot do.

    Args:
        adapted: whether an adapter is trained, new or continued.
    """
    method = method_of(given)
    if trains and not adapted:
        cause = "quantised weights cannot be trained themselves"
        yield document.problem(KEY, cause, "train an adapter on them: peft: {target_modules: all-linear}")
    package = PACKAGES.get(method)
    if package and find_spec(package) is None:
        cause = f"needs the package {package}, which is not installed here"
        problem = document.problem(KEY, cause, f"pip install 'tenyson-core[{package}]'")
        yield dataclasses.replace(problem, severity="warning")
        return
    if find_spec("transformers") is None:
        return
    wrong = list(_names(given, method, document))
    yield from wrong
    if wrong:
        return
    try:
        quantization(given)
    except Exception as error:  # each library has its own
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        yield document.problem(KEY, f"{method} refuses it: {reason}")
        return
    if trains and method == "torchao" and "8Weight" not in _class_name(given):
        cause = f"transformers trains adapters on torchao's 8-bit weights only, not on those of {_class_name(given)}"
        hint = "Int8WeightOnlyConfig, or 4 bits of bitsandbytes: {load_in_4bit: true}"
        yield document.problem((*KEY, "quant_type"), cause, hint)


def _names(given: Mapping[str, Any], method: str, document: Document) -> Iterator[Problem]:
    classes = _classes()
    if method not in classes:
        hint = did_you_mean(method, sorted(classes)) or "such as bitsandbytes or torchao"
        yield document.problem((*KEY, METHOD), f"transformers knows no method {method!r}", hint)
        return
    known = _parameters(classes[method])
    for name in given:
        if name != METHOD and name not in known:
            hint = did_you_mean(name, sorted(known))
            yield document.problem((*KEY, name), f"no argument of {classes[method].__name__}", hint)
    if method == "bitsandbytes":
        yield from _of_bitsandbytes(given, document)
    elif method == "torchao":
        yield from _of_torchao(given, document)


def _of_bitsandbytes(given: Mapping[str, Any], document: Document) -> Iterator[Problem]:
    asked = [name for name in _BOTH if given.get(name)]
    if len(asked) != 1:
        cause = "asks for 4 bits and for 8" if asked else "asks for neither 4 bits nor 8"
        yield document.problem(KEY, cause, "set load_in_4bit or load_in_8bit to true")
    kind = given.get("bnb_4bit_quant_type", "nf4")
    if kind not in ("nf4", "fp4"):
        hint = did_you_mean(str(kind), ["nf4", "fp4"])
        yield document.problem((*KEY, "bnb_4bit_quant_type"), f"must be nf4 or fp4, not {kind!r}", hint)
    for name in given:
        if asked == ["load_in_8bit"] and name.startswith("bnb_4bit_"):
            yield document.problem((*KEY, name), "has no effect without load_in_4bit")
        elif asked == ["load_in_4bit"] and name in ("llm_int8_threshold", "llm_int8_has_fp16_weight"):
            yield document.problem((*KEY, name), "has no effect without load_in_8bit")
    if given.get("llm_int8_enable_fp32_cpu_offload"):
        cause = "means nothing here: Tenyson puts the model on the device of each process"
        yield document.problem((*KEY, "llm_int8_enable_fp32_cpu_offload"), cause)


def _of_torchao(given: Mapping[str, Any], document: Document) -> Iterator[Problem]:
    known = _torchao_types()
    name = _class_name(given)
    if name not in known:
        hint = did_you_mean(name, sorted(known)) or "such as Int8WeightOnlyConfig"
        cause = f"torchao has no quantisation {name!r}" if name else "names no quantisation of torchao"
        yield document.problem((*KEY, "quant_type"), cause, hint)
        return
    arguments = _parameters(known[name])
    for argument in _arguments(given):
        if argument not in arguments:
            hint = did_you_mean(argument, sorted(arguments))
            yield document.problem((*KEY, "quant_type", argument), f"no argument of {name}", hint)


def quantization(given: Mapping[str, Any]) -> Any:
    """transformers' object of a checked mapping. Raises: whatever the library raises of values that it cannot use."""
    method, rest = method_of(given), {name: value for name, value in given.items() if name != METHOD}
    if method == "torchao":
        kind = _torchao_types()[_class_name(given)]
        rest["quant_type"] = kind(**_arguments(given))
    return _classes()[method](**rest)


def _class_name(given: Mapping[str, Any]) -> str:
    kind = given.get("quant_type")
    return str(kind.get("name", "") if isinstance(kind, Mapping) else kind or "")


def _arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    kind = given.get("quant_type")
    return {key: value for key, value in kind.items() if key != "name"} if isinstance(kind, Mapping) else {}


def _classes() -> Mapping[str, Any]:
    """transformers' class for each method; bitsandbytes' two names are one here."""
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING as found

    both = ("bitsandbytes_4bit", "bitsandbytes_8bit")
    named = {str(name): cls for name, cls in found.items() if name not in both}
    return {**named, "bitsandbytes": found["bitsandbytes_4bit"]}


def _torchao_types() -> Mapping[str, Any]:
    import torchao.quantization
    from torchao.core.config import AOBaseConfig

    found = vars(torchao.quantization)
    return {
        name: cls
        for name, cls in found.items()
        if inspect.isclass(cls) and issubclass(cls, AOBaseConfig) and cls is not AOBaseConfig
    }


def _parameters(cls: Any) -> set[str]:
    return {
        name
        for name, one in inspect.signature(cls).parameters.items()
        if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    }
