"""Models: finding, building and loading what a configuration's `model` section names."""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.config.checks.load_arguments import attributes
from tenyson.core.files.digest import file_sha256
from tenyson.core.run_folder import RunFolder
from tenyson.engines.loading import is_quantised, load_causal_lm
from tenyson.errors import ModelError, TenysonError
from tenyson.jobs.models.built import built_model
from tenyson.jobs.models.integrity import require_readable

if TYPE_CHECKING:
    from tenyson.config.schema import Config, ModelConfig


@dataclass(frozen=True)
class ModelSource:
    """Where a model's files are, resolved."""

    path: str
    """A directory, or a name on the Hub."""
    revision: str | None
    adapter: str | None
    """A directory."""
    load_args: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """`model.load_args` of the configuration."""


def resolve_model(config: Config) -> ModelSource:
    """Find the model and adapter that a configuration names; build or download what is not here yet.

    Raises:
        ModelError: it cannot be found or built.
    """
    model = config.model
    path = _build(model, config.run.seed) if model.factory else _find(model.name or "", config.run.output_dir)
    adapter = _find_adapter(model.adapter, config) if model.adapter else None
    for place in filter(None, (path, adapter)):
        if Path(place).is_dir():
            require_readable(Path(place))
    source = ModelSource(path, model.revision, adapter, model.load_args)
    if not model.new_tokens:
        return source
    from tenyson.jobs.models.new_tokens import with_new_tokens

    with explained(path):
        return with_new_tokens(source, model.new_tokens, trust_remote_code=model.trust_remote_code)


def load_tokenizer(source: ModelSource, *, trust_remote_code: bool = False) -> Any:
    """The tokenizer that lies with the model (or with the adapter, where one was saved there)."""
    from transformers import AutoTokenizer

    place = source.path
    if source.adapter and (Path(source.adapter) / "tokenizer_config.json").exists():
        place = source.adapter
    with explained(place):
        tokenizer = AutoTokenizer.from_pretrained(
            place,
            revision=source.revision if place == source.path else None,
            trust_remote_code=trust_remote_code,
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "the tokenizer has no eos_token, so no reply would end and no batch could be padded",
            place=f"{place}/tokenizer_config.json",
            next_step="Name the token that ends a reply as eos_token there, and another one as pad_token.",
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    source: ModelSource, config: ModelConfig, *, dtype: str, trainable_adapter: bool = False
) -> Any:
    """The model, with the adapter of `source` on it if there is one; a quantised one as an adapter is trained on it.

    On the CPU, unless it is quantised by bitsandbytes.
    """
    with explained(source.path):
        model = load_causal_lm(
            source.path,
            dtype=dtype,
            revision=source.revision,
            trust_remote_code=config.trust_remote_code,
            attn_implementation=config.attn_implementation,
            load_args=source.load_args,
        )
    if is_quantised(model):
        from peft import prepare_model_for_kbit_training

        # The Trainer enables gradient checkpointing itself, with the arguments that it has for it.
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    if source.adapter is None:
        return model
    from tenyson.engines.adapter import put_adapter

    with explained(source.adapter):
        return put_adapter(model, source.adapter, trainable=trainable_adapter)


def generation_eos(source: ModelSource) -> list[int]:
    """Ids that the model's generation_config ends on."""
    from transformers import GenerationConfig

    try:
        with explained(source.path, (OSError,)):
            eos = GenerationConfig.from_pretrained(source.path, revision=source.revision).eos_token_id
    except OSError:
        return []
    if eos is None:
        return []
    return [eos] if isinstance(eos, int) else list(eos)


def context_length(source: ModelSource) -> int | None:
    """Tokens that the model can read at once; None where its configuration does not say."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(
            source.path, revision=source.revision, **attributes(source.load_args)
        )
    except Exception:  # loading the model will say why
        return None
    longest = getattr(config, "max_position_embeddings", None)
    return longest if isinstance(longest, int) else None


class explained:
    """Turns what transformers and peft raise for a missing or broken directory into one ModelError."""

    def __init__(self, place: str, past: tuple[type[Exception], ...] = ()) -> None:
        """`past`: what is left to the caller."""
        self._place = place
        self._past = past

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Libraries in Rust and C raise what they like: of a file that somebody gave, all of it is told in one line.
        if (
            isinstance(error, Exception)
            and not isinstance(error, (TenysonError, MemoryError, *self._past))
            and type(error).__name__ != "OutOfMemoryError"  # torch's: no fault of the file
        ):
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise ModelError(
                f"cannot be loaded: {first}",
                place=self._place,
                next_step="Check model.name, model.revision and model.adapter; without a network only local directories work.",
            ) from error


def _find(name: str, output_dir: str) -> str:
    given = Path(name).expanduser()
    is_run = RunFolder(given).config.is_file()
    if given.is_dir() and not is_run:
        return str(given)
    folder = RunFolder(given) if is_run else RunFolder.of(output_dir, name)
    if folder.model.is_dir():
        return str(folder.model)
    if folder.path.is_dir():
        raise ModelError(
            f"the run {name} trained no full model",
            place=str(folder.path),
            next_step="Give its run id as model.adapter, and the base model as model.name.",
        )
    if name.startswith((".", "/", "~")) or name.count("/") > 1:
        raise ModelError("there is no such model directory", place=name)
    return name


def _find_adapter(adapter: str, config: Config) -> str:
    given = Path(adapter).expanduser()
    is_run = RunFolder(given).config.is_file()
    if given.is_dir() and not is_run:
        return str(given)
    folder = RunFolder(given) if is_run else RunFolder.of(config.run.output_dir, adapter)
    if folder.adapter.is_dir():
        return str(folder.adapter)
    if folder.path.is_dir():
        raise ModelError(
            f"the run {adapter} trained no adapter",
            place=str(folder.path),
            next_step=f"It trained a full model: set model.name: {adapter} instead."
            if folder.model.is_dir()
            else None,
        )
    if adapter.startswith((".", "/", "~")) or "/" not in adapter:
        raise ModelError(
            f"{adapter!r} is neither a directory, nor a run in {config.run.output_dir}, nor repo:revision",
            place="model.adapter",
        )
    return download(adapter, config.hub.token_env)


def download(reference: str, token_env: str) -> str:
    """Fetch `repo:revision` from the Hub; returns the local directory.

    Raises:
        ModelError: it does not exist, or the Hub cannot be reached.
    """
    from huggingface_hub import snapshot_download

    repo, _, revision = reference.partition(":")
    try:
        return str(snapshot_download(repo, revision=revision or None, token=os.environ.get(token_env)))
    except Exception as error:
        raise ModelError(
            f"cannot be fetched from the Hub: {type(error).__name__}: {str(error).splitlines()[0]}",
            place=reference,
        ) from error


def _build(model: ModelConfig, seed: int) -> str:
    factory = _factory(str(model.factory))
    recipe = [model.factory, model.factory_args, seed, _source_hash(factory)]
    try:
        return built_model(recipe, lambda draft: factory(draft, seed, **model.factory_args))
    except TypeError as error:
        raise ModelError(
            f"{model.factory} refuses model.factory_args: {error}", place="model.factory_args"
        ) from error


def _factory(name: str) -> Callable[..., None]:
    module, _, attribute = name.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as error:
        raise ModelError(f"cannot be imported: {error}", place=f"model.factory: {name}") from error


def _source_hash(factory: Callable[..., None]) -> str:
    try:
        return file_sha256(Path(inspect.getfile(factory)))
    except (OSError, TypeError):
        return ""
