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
    tied = getattr(model.config, "tie_word_embeddings", False)
    reads = _names(adapter, "modules_to_save", layer) or set(ids) <= _rows(adapter, layer)
    writes = (
        reads and adapter.get("ensure_weight_tying")
        if tied
        else _names(adapter, "modules_to_save", "lm_head")
    )
    if reads and writes:
        return
    shown = ", ".join(map(repr, tokens[:3])) + (" ..." if len(tokens) > 3 else "")
    both = f"[{layer}] and peft.ensure_weight_tying: true" if tied else f"[{layer}, lm_head]"
    rows = "" if tied or reads else f", peft.trainable_token_indices: {ids} to train reading them alone"
    yield Finding(
        "new_tokens",
        "warning",
        f"the adapter trains neither reading {shown} nor writing it: their embeddings stay the mean of the others"
        if not reads
        else f"the adapter trains reading {shown}, and not writing it: their rows of lm_head stay the mean of the others",
        f"Set peft.modules_to_save: {both}{rows}, or train all weights.",
    )


def _adapter(config: Config, source: ModelSource) -> Mapping[str, Any] | None:
    """What describes the adapter in training; None where all weights are trained."""
    if source.adapter is None:
        return config.peft
    try:
        return read_object(Path(source.adapter) / FILE)
    except OSError:
        return {}


def _names(adapter: Mapping[str, Any], key: str, layer: str) -> bool:
    named = adapter.get(key) or ()
    return any(one.rpartition(".")[2] == layer for one in ([named] if isinstance(named, str) else named))


def _rows(adapter: Mapping[str, Any], layer: str) -> set[int]:
    rows = adapter.get("trainable_token_indices") or ()
    return set(rows.get(layer, ()) if isinstance(rows, Mapping) else rows)
