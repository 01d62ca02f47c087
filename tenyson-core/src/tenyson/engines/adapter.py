"""Adapters: put on a model, and proven to be on it.

PEFT, transformers and vLLM each have ways to load an adapter that silently leave the model unchanged. So what the model
holds afterwards is compared with the file, tensor by tensor, and what it says is compared with and without the adapter.

Imports torch inside its functions.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tenyson.errors import ModelError

TENSORS = "adapter_model.safetensors"
PROBE_IDS = tuple(range(1, 9))
"""Token ids that are fed to a model to see whether an adapter changes its logits; every vocabulary has them."""


def put_adapter(model: Any, folder: str, *, trainable: bool = False) -> Any:
    """The model with the adapter of a directory on it.

    Raises:
        ModelError: PEFT cannot read it, or the model does not hold its tensors afterwards, or they change nothing.
    """
    from peft import PeftModel

    try:
        adapted = PeftModel.from_pretrained(model, folder, is_trainable=trainable)
    except Exception as error:  # of a file that somebody gave, all of it is told in one line
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ModelError(
            f"the adapter cannot be loaded: {type(error).__name__}: {reason}",
            place=folder,
            next_step="Check model.adapter, and that the adapter was trained on this base model.",
        ) from error
    # An adapter of another make (.bin) has no file to compare with; what it changes is still looked at.
    if (path := Path(folder) / TENSORS).is_file():
        verify_adapter(adapted, adapted.active_adapter, path)
    if is_trained(adapted) and not changes_logits(adapted):
        raise ModelError(
            "the adapter is loaded, but changes nothing that the model says",
            place=folder,
            next_step="Check that its target modules exist in this base model.",
        )
    return adapted


def merge(adapted: Any) -> Any:
    """The model with its adapter added to its weights, and PEFT gone.

    Raises: whatever PEFT raises of a kind of layer that it cannot merge, or of weights that are not finite afterwards.
    """
    import warnings

    import torch

    with warnings.catch_warnings():
        # PEFT warns of what is put right below.
        warnings.filterwarnings("ignore", message=".*no longer tied after merging")
        model = adapted.merge_and_unload(safe_merge=True)
    inputs, outputs = model.get_input_embeddings(), model.get_output_embeddings()
    tied = outputs is not None and getattr(model.config, "tie_word_embeddings", False)
    if tied and not torch.equal(inputs.weight, outputs.weight):
        # A trained embedding is no longer lm_head's, and the file of a tied model would hold one of the two.
        model.config.tie_word_embeddings = model.config.get_text_config().tie_word_embeddings = False
    return model


def verify_adapter(model: Any, adapter: str, path: Path) -> None:
    """Compare an adapter on a model with its file.

    Raises:
        ModelError: a tensor is missing on either side, or differs.
    """
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import load_file

    held, filed = get_peft_model_state_dict(model, adapter_name=adapter), load_file(path)
    fault = None
    if odd := sorted(filed.keys() ^ held.keys()):
        fault = f"{odd[0]} is only in {'the file' if odd[0] in filed else 'the model'}"
    else:
        for name, tensor in filed.items():
            if not torch.equal(held[name].detach().cpu(), tensor.to(held[name].dtype)):
                fault = f"{name} differs"
                break
    if fault:
        raise ModelError(
            f"the adapter was not loaded as it is written: {fault}",
            place=str(path),
            next_step="Check that the adapter was trained on this base model.",
        )


def is_trained(model: Any) -> bool:
    """Whether an adapter differs from a fresh one: LoRA begins with B = 0, which changes nothing."""
    from peft import get_peft_model_state_dict

    tensors = get_peft_model_state_dict(model, adapter_name=model.active_adapter)
    ends = [tensor for name, tensor in tensors.items() if "lora_B" in name or "lora_embedding_B" in name]
    return any(bool(tensor.any()) for tensor in ends) if ends else bool(tensors)


def changes_logits(model: Any) -> bool:
    """Whether any next-token logit (1 x 8 x vocabulary) differs with and without the adapter."""
    import torch

    ids = torch.tensor([PROBE_IDS], device=model.device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        adapted = model(input_ids=ids).logits
        with model.disable_adapter():
            plain = model(input_ids=ids).logits
    model.train(was_training)
    return not torch.equal(adapted, plain)
