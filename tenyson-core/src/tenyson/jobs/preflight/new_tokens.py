"""New tokens under an adapter: whether it trains their embeddings, which begin with the mean of the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.jobs.models.adapter_config import FILE
from tenyson.jobs.models.integrity import read_object
from tenyson.jobs.models.outline import try_outline
from tenyson.jobs.runtime.finding import Finding

if TYPE_CHECKING:
    from tenyson.config.schema import Config
    from tenyson.jobs.models.model import ModelSource


def check_new_tokens(config: Config, source: ModelSource, tokenizer: Any) -> Iterator[Finding]:
    """Before a training: a warning where `model.new_tokens` are learnt by nothing."""
    tokens = config.model.new_tokens
    adapter = _adapter(config, source)
    model = try_outline(source, trust_remote_code=config.model.trust_remote_code)
    if not tokens or adapter is None or model is None:
        return
    inputs = model.get_input_embeddings()
    layer = next(name for name, module in model.named_modules() if module is inputs).rpartition(".")[2]
    ids = tokenizer.convert_tokens_to_ids(tokens)
    if _trains(adapter, layer, ids):
        return
    tied = getattr(model.config, "tie_word_embeddings", False)
    shown = ", ".join(map(repr, tokens[:3])) + (" ..." if len(tokens) > 3 else "")
    yield Finding(
        "new_tokens",
        "warning",
        f"the adapter does not train the embeddings of {shown}, which stay the mean of the others",
        f"Set peft.modules_to_save: [{layer}], or train all weights."
        if tied
        else f"Set peft.trainable_token_indices: {ids}, or peft.modules_to_save: [{layer}], or train all weights.",
    )


def _adapter(config: Config, source: ModelSource) -> Mapping[str, Any] | None:
    """What describes the adapter in training; None where all weights are trained."""
    if source.adapter is None:
        return config.peft
    try:
        return read_object(Path(source.adapter) / FILE)
    except OSError:
        return {}


def _trains(adapter: Mapping[str, Any], layer: str, ids: list[int]) -> bool:
    for key in ("modules_to_save", "target_modules"):
        named = adapter.get(key) or ()
        if any(one.rpartition(".")[2] == layer for one in ([named] if isinstance(named, str) else named)):
            return True
    rows = adapter.get("trainable_token_indices") or ()
    rows = rows.get(layer, ()) if isinstance(rows, Mapping) else rows
    return set(ids) <= set(rows)
