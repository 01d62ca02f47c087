"""Load arguments: which of `model.load_args` act when a model is loaded, and what to use instead of those that do not.

A name is an argument of transformers' `from_pretrained`, or an attribute of the model's configuration. The first are ruled on in the
tables here, which a test compares with the installed version; the second are known once the model's config.json can be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.config.checks.quantization import QUANTIZATION, quantization_problems
from tenyson.config.document import Document
from tenyson.config.explain import did_you_mean
from tenyson.errors import Problem

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.plugins.job_kind import JobKind

KEY = ("model", "load_args")

LOAD_HONOURED = frozenset(
    {
        QUANTIZATION, "use_safetensors", "variant", "disable_mmap", "use_kernels", "kernel_config", "allow_all_kernels",
        "key_mapping", "experts_implementation", "fusion_config", "code_revision",
    }
)  # fmt: skip
"""Arguments of `from_pretrained` that act."""

LOAD_OWNED: Mapping[str, str] = {
    "dtype": "model.dtype",
    "torch_dtype": "model.dtype",
    "attn_implementation": "model.attn_implementation",
    "revision": "model.revision",
    "trust_remote_code": "model.trust_remote_code",
    "token": "hub.token_env",
    "pretrained_model_name_or_path": "model.name",
}
"""Arguments with a key of their own, and that key."""

_PLACED = "means nothing here: Tenyson puts the model on the device of each process"
_WHOLE = "would load other weights than the files hold"
_CACHE = "means nothing here: the tokenizer and the checks would look elsewhere"

LOAD_REFUSED: Mapping[str, tuple[str, str]] = {
    "device_map": (_PLACED, "what does not fit one GPU fits by quantization_config"),
    "max_memory": (_PLACED, ""),
    "offload_folder": (_PLACED, ""),
    "offload_buffers": (_PLACED, ""),
    "tp_plan": (_PLACED, ""),
    "tp_size": (_PLACED, ""),
    "device_mesh": (_PLACED, ""),
    "distributed_config": (_PLACED, ""),
    "low_cpu_mem_usage": ("no longer does anything in transformers", ""),
    "config": ("is made of the model's config.json", "write its attributes here, each by its name"),
    "generation_config": ("means nothing here: every parameter of sampling is set", "use generation"),
    "state_dict": (_WHOLE, ""),
    "ignore_mismatched_sizes": (_WHOLE, "such as random ones where sizes differ"),
    "gguf_file": (
        "has a tokenizer of its own, which is not read",
        "convert it to safetensors, and name that",
    ),
    "weights_only": ("files of weights are never unpickled with code", ""),
    "adapter_name": ("means nothing here: Tenyson puts adapters on the model itself", "use model.adapter"),
    "adapter_kwargs": ("means nothing here: Tenyson puts adapters on the model itself", "use model.adapter"),
    "subfolder": (_CACHE, "name the folder itself in model.name"),
    "cache_dir": (_CACHE, "set the environment variable HF_HUB_CACHE"),
    "local_files_only": (_CACHE, "set the environment variable HF_HUB_OFFLINE=1"),
    "force_download": (_CACHE, ""),
    "proxies": (_CACHE, "set the environment variable HTTPS_PROXY"),
    "output_loading_info": ("changes only what is returned", ""),
    "tqdm_class": ("changes only what is printed", ""),
}
"""Arguments of `from_pretrained` that are refused: why, and what to use instead."""

_ENDS = "means nothing here: a reply ends at the chat template's end of turn"
_HEAD = "is of a model that classifies"
ATTRIBUTES_REFUSED: Mapping[str, tuple[str, str]] = {
    "eos_token_id": (_ENDS, ""),
    "bos_token_id": (_ENDS, ""),
    "pad_token_id": ("means nothing here: the tokenizer's is taken", ""),
    "vocab_size": ("is the number of rows that the files hold", "model.new_tokens adds some"),
    "num_labels": (_HEAD, ""),
    "id2label": (_HEAD, ""),
    "label2id": (_HEAD, ""),
    "problem_type": (_HEAD, ""),
    "architectures": ("is the model that the files hold", ""),
    "model_type": ("is the model that the files hold", ""),
    "transformers_version": ("only says who wrote the files", ""),
    "name_or_path": ("only says where the files are", "use model.name"),
    "return_dict": ("would change what the model returns", ""),
    "chunk_size_feed_forward": ("does nothing in models that only decode", ""),
}
"""Attributes of a model's configuration that are refused."""


def attributes(load_args: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `model.load_args` that are attributes of the model's configuration."""
    return {name: value for name, value in load_args.items() if name not in LOAD_HONOURED}


def beyond_vllm(load_args: Mapping[str, Any]) -> str | None:
    """The first load argument that vLLM has no counterpart for; None where it can load the model in the same way."""
    return next((name for name in load_args if name in LOAD_HONOURED), None)


def load_argument_problems(
    config: Config, kind: JobKind, document: Document, *, engine: str
) -> Iterator[Problem]:
    """What cannot be loaded so, or not by the engine. Imports transformers where there are any load arguments."""
    given = config.model.load_args
    if not given:
        return
    yield from _named(config, document)
    if isinstance(held := given.get(QUANTIZATION), Mapping):
        adapted = config.peft is not None or config.model.adapter is not None
        yield from quantization_problems(held, document, trains=kind.trains, adapted=adapted)
    elif QUANTIZATION in given:
        yield document.problem((*KEY, QUANTIZATION), "must be a mapping", "such as {load_in_4bit: true}")
    if engine == "vllm" and kind.generates:
        hint = "use generation.engine: transformers"
        if kind.trains:
            cause = "has no effect on the vLLM of RL, which would generate with another model than is trained"
            yield document.problem(KEY, cause, hint)
        elif name := beyond_vllm(given):
            yield document.problem((*KEY, name), "is for transformers: vLLM would load another model", hint)


def _named(config: Config, document: Document) -> Iterator[Problem]:
    given = config.model.load_args
    for name in given:
        if name in LOAD_OWNED:
            yield document.problem((*KEY, name), "has a key of its own", f"use {LOAD_OWNED[name]}")
        elif name in LOAD_REFUSED:
            yield document.problem((*KEY, name), *LOAD_REFUSED[name])
        elif name in ATTRIBUTES_REFUSED:
            yield document.problem((*KEY, name), *ATTRIBUTES_REFUSED[name])
    if given.get("allow_all_kernels") and not config.model.trust_remote_code:
        cause = "runs code of any repository on the Hub"
        yield document.problem(
            (*KEY, "allow_all_kernels"), cause, "it needs model.trust_remote_code: true as well"
        )
    folder = Path(config.model.name or "").expanduser()
    if config.model.name and (folder / "config.json").is_file():
        yield from attribute_problems(given, str(folder), None, document)


def attribute_problems(
    load_args: Mapping[str, Any],
    path: str,
    revision: str | None,
    document: Document,
    *,
    trust_remote_code: bool = False,
) -> Iterator[Problem]:
    """Names that the configuration of this very model does not have; reads its config.json, and no weights."""
    ruled = LOAD_HONOURED | LOAD_OWNED.keys() | LOAD_REFUSED.keys() | ATTRIBUTES_REFUSED.keys()
    rest = [name for name in load_args if name not in ruled]
    if not rest:
        return
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=trust_remote_code)
    except Exception:  # loading the model will say why
        return
    known = _known(config)
    for name in rest:
        if name not in known:
            hint = did_you_mean(name, sorted(known | LOAD_HONOURED))
            cause = f"no argument of from_pretrained, and no attribute of a {type(config).__name__.removesuffix('Config')} model"
            yield document.problem((*KEY, name), cause, hint)


def _known(config: Any) -> set[str]:
    names = set(config.to_dict()) | set(getattr(config, "attribute_map", {}))
    return {name for name in names if not name.startswith("_")}
