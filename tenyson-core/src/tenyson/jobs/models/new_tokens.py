"""New tokens: a model with tokens that its tokenizer or its embeddings lack, as a directory of its own that everything else loads.

Each new token begins with the mean of the embeddings of the others, so that the same model comes out on every machine.

Imports torch inside its functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.jobs.models.built import built_model
from tenyson.jobs.models.identity import weights_identity

if TYPE_CHECKING:
    from tenyson.jobs.models.model import ModelSource

_FORMAT = 1


def with_new_tokens(source: ModelSource, tokens: Sequence[str], *, trust_remote_code: bool) -> ModelSource:
    """The model with these tokens; `source` itself where it has all of them already, with embeddings.

    Raises: whatever transformers raises of a model that it cannot load.
    """
    from transformers import AutoConfig, AutoTokenizer

    place: dict[str, Any] = {"revision": source.revision, "trust_remote_code": trust_remote_code}
    tokenizer = AutoTokenizer.from_pretrained(source.path, **place)
    size = AutoConfig.from_pretrained(source.path, **place).get_text_config().vocab_size
    vocabulary = tokenizer.get_vocab()
    if all(vocabulary.get(token, size) < size for token in tokens):
        return source
    known = sorted(index for index in vocabulary.values() if index < size)
    origin = weights_identity(source.path) or f"{source.path}:{source.revision or ''}"
    recipe = ["new tokens", _FORMAT, origin, sorted(vocabulary.items()), list(tokens)]
    path = built_model(recipe, lambda draft: _write(draft, source.path, tokens, known, place))
    return replace(source, path=path, revision=None)


def _write(
    draft: Path, path: str, tokens: Sequence[str], known: Sequence[int], place: dict[str, Any]
) -> None:
    from transformers import AddedToken, AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(path, **place)
    missing = [token for token in tokens if token not in tokenizer.get_vocab()]
    # No special tokens, which a reply's text would lack: rewards and environments read them.
    tokenizer.add_tokens([AddedToken(token, normalized=False, special=False) for token in missing])
    model = AutoModelForCausalLM.from_pretrained(path, dtype="auto", **place)
    if len(tokenizer) > model.get_input_embeddings().num_embeddings:
        model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    fresh = sorted(set(tokenizer.convert_tokens_to_ids(list(tokens))) - set(known))
    for layer in (model.get_input_embeddings(), model.get_output_embeddings()):
        if layer is not None:
            _begin_with_mean(layer, fresh, known)
    model.save_pretrained(draft)
    tokenizer.save_pretrained(draft)


def _begin_with_mean(layer: Any, fresh: Sequence[int], known: Sequence[int]) -> None:
    """In double precision: its sum is the same whatever the number of threads, once it is rounded."""
    import torch

    with torch.no_grad():
        for weights in (layer.weight, getattr(layer, "bias", None)):
            if weights is not None:
                weights[list(fresh)] = weights[list(known)].double().mean(0).to(weights.dtype)
