"""Adapters: put into a model, and proven to be in it.

PEFT and transformers each have ways to load an adapter that leave it as it was without a word; so what the model holds
afterwards is compared with the file, tensor by tensor.

Imports torch: import this module only inside a job.
"""

from __future__ import annotations

from pathlib import Path

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from tenyson.errors import ModelError
from tenyson.jobs.snapshot import ADAPTER, adapter_file


def load_adapters(model: PeftModel, checkpoint: Path) -> None:
    """Put every adapter of a checkpoint where it was: the one in training, and TRL's `ref` beside it.

    transformers 5.19 loads only `ref` where there are both, and leaves the adapter in training untouched.

    Raises:
        ModelError: an adapter is missing, or is not what the model holds afterwards.
    """
    for adapter in model.peft_config:
        path = checkpoint / adapter_file(model, adapter)
        if not path.is_file():
            raise ModelError(
                f"this checkpoint has no adapter {adapter!r}",
                place=str(path),
                next_step="Resume with the peft, model.adapter and training.beta that it was written with.",
            )
        set_peft_model_state_dict(model, load_file(path), adapter_name=adapter)
        verify_adapter(model, adapter, path)


def verify_adapter(model: PeftModel, adapter: str, path: Path) -> None:
    """Compare an adapter in a model with its file.

    Raises:
        ModelError: a tensor is missing on either side, or differs.
    """
    held, filed = get_peft_model_state_dict(model, adapter_name=adapter), load_file(path)
    fault = None
    if missing := sorted(filed.keys() ^ held.keys()):
        fault = f"{missing[0]} is only in {'the file' if missing[0] in filed else 'the model'}"
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


def require_effect(model: PeftModel, token_ids: list[int], place: str) -> bool:
    """Compare next-token logits (1 x tokens x vocabulary) with and without the adapter; False where it is untrained.

    Raises:
        ModelError: it has weights, yet changes no logit.
    """
    ids = torch.tensor([token_ids], device=model.device)
    training = model.training
    model.eval()
    with torch.no_grad():
        adapted = model(input_ids=ids).logits
        with model.disable_adapter():
            plain = model(input_ids=ids).logits
    model.train(training)
    if not torch.equal(adapted, plain):
        return True
    weights = get_peft_model_state_dict(model, adapter_name=model.active_adapter)
    # LoRA begins with B = 0: such an adapter is the base model.
    if all(not tensor.any() for name, tensor in weights.items() if "lora_B" in name):
        return False
    raise ModelError(
        "the adapter is loaded, but changes nothing that the model says",
        place=place,
        next_step="Check that its target modules exist in this base model.",
    )


def adapter_tensors(folder: Path) -> Path:
    """The file of an adapter's tensors."""
    return folder / ADAPTER
