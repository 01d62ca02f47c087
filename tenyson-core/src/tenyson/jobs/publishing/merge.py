"""Merging: the adapter of a run added to the weights below it, written as a model directory that needs no PEFT.

Imports torch inside its functions.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.config.checks.quantization import QUANTIZATION, method_of, quantization_of
from tenyson.errors import ModelError

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.jobs.models.model import ModelSource

TOLERANCE = 1e-3
"""Largest difference of a logit, relative to the largest logit, between the merged model and the adapter on its base, in float32."""


@dataclass(frozen=True)
class Merged:
    """A directory that was written."""

    directory: Path
    base: str
    """The directory or Hub name of the model below."""
    adapter: str
    """The adapter's directory."""
    parameters: int
    dtype: str
    """Type of the written weights."""
    difference: float
    """Largest difference of a logit (nats) from those of the adapter on its base, before the weights were rounded to `dtype`."""
    quantised: str | None
    """How the weights below were quantised while the adapter was trained; they are written as they are without."""


def merge_adapter(config: Config, to: Path, *, dtype: str | None = None) -> Merged:
    """Write weights, tokenizer, chat template and generation config to a new directory, in one move.

    It is merged in float32, since bfloat16 would round small updates away.

    Args:
        config: with `model.adapter`, as `tenyson.jobs.models.served.served_config` makes it of a run.
        dtype: of the written weights; None for that of the base's files.

    Raises:
        ModelError: there is no adapter, something is at `to` already, the base's files hold quantised weights, PEFT cannot merge this
            adapter, or the merged model says something else.
    """
    from tenyson.jobs.models.model import explained, resolve_model

    _require_free(to)
    if config.model.adapter is None:
        raise ModelError(
            "there is no adapter to merge: all weights were trained", place=str(config.model.name)
        )
    source = resolve_model(config)
    with explained(source.path):
        own = _own_dtype(source, trust_remote_code=config.model.trust_remote_code)
    written = dtype or own
    model, difference = _merged(source, config)
    to.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{to.name}-", dir=to.parent))
    try:
        _write(model, source, config, draft, written)
        draft.chmod(0o755)
        _require_free(to)
        draft.rename(to)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    given = quantization_of(source.load_args)
    return Merged(
        to, source.path, str(source.adapter), model.num_parameters(), written, difference,
        method_of(given) if given else None,
    )  # fmt: skip


def _require_free(to: Path) -> None:
    if to.exists() or to.is_symlink():
        raise ModelError(
            "already exists, and nothing is overwritten", place=str(to), next_step="Name a new directory."
        )


def _own_dtype(source: ModelSource, *, trust_remote_code: bool) -> str:
    """The type of the base's files. Raises: ModelError: they hold quantised weights."""
    import torch
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(
        source.path, revision=source.revision, trust_remote_code=trust_remote_code
    )
    if getattr(config, QUANTIZATION, None):
        raise ModelError(
            "its files hold quantised weights, which an adapter cannot be added to without rounding most of it away",
            place=source.path,
            next_step="Set model.name to the model that they were quantised from: --set model.name=...",
        )
    found = getattr(config, "dtype", None) or torch.float32
    return str(found).removeprefix("torch.")


def _merged(source: ModelSource, config: Config) -> tuple[Any, float]:
    """The merged model in float32, and how far its logits are from those of the adapter on its base."""
    from tenyson.engines.adapter import merge, put_adapter
    from tenyson.engines.loading import load_causal_lm
    from tenyson.jobs.models.model import explained

    unquantised = {name: value for name, value in source.load_args.items() if name != QUANTIZATION}
    with explained(source.path):
        model = load_causal_lm(
            source.path,
            dtype="float32",
            revision=source.revision,
            trust_remote_code=config.model.trust_remote_code,
            attn_implementation=config.model.attn_implementation,
            load_args=unquantised,
        )
    adapted = put_adapter(model, str(source.adapter)).eval()
    before = _logits(adapted)
    try:
        merged = merge(adapted)
    except Exception as error:  # each kind of layer has its own
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(f"PEFT cannot merge this adapter: {reason}", place=str(source.adapter)) from error
    after = _logits(merged)
    difference = float((after - before).abs().max())
    if not difference <= TOLERANCE * float(before.abs().max()):
        raise ModelError(
            f"the merged model differs from the adapter on its base: a logit by {difference:.3g}",
            place=str(source.adapter),
            next_step="Use the adapter as it is, with model.adapter.",
        )
    return merged, difference


def _logits(model: Any) -> Any:
    import torch

    from tenyson.engines.adapter import PROBE_IDS

    with torch.no_grad():
        return model(input_ids=torch.tensor([PROBE_IDS])).logits.float()


def _write(model: Any, source: ModelSource, config: Config, draft: Path, dtype: str) -> None:
    import torch

    from tenyson.jobs.models.fingerprint import FILE
    from tenyson.jobs.models.model import load_tokenizer

    model.to(getattr(torch, dtype)).save_pretrained(draft)
    load_tokenizer(source, trust_remote_code=config.model.trust_remote_code).save_pretrained(draft)
    fingerprint = Path(str(source.adapter)) / FILE
    if fingerprint.is_file():
        shutil.copyfile(fingerprint, draft / FILE)
