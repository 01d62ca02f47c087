"""The transformers engine: batched `generate` with a KV cache, on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenyson.engines.engine import EngineSpec, Reply, Sampling


def generate_replies(
    model: Any, prompts: Sequence[Sequence[int]], sampling: Sampling, pad_token_id: int, **arguments: Any
) -> list[Reply]:
    """Sample one reply for each of B prompts with a loaded model; draws from torch's global generator.

    `arguments` go to transformers' GenerationConfig verbatim.
    """
    import torch
    from transformers import GenerationConfig

    width = max(map(len, prompts))
    input_ids = torch.full((len(prompts), width), pad_token_id, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for row, prompt in enumerate(prompts):
        input_ids[row, width - len(prompt) :] = torch.tensor(prompt)
        attention_mask[row, width - len(prompt) :] = 1
    settings: dict[str, Any] = {
        "max_new_tokens": sampling.max_new_tokens,
        "do_sample": sampling.temperature > 0,
        "eos_token_id": list(sampling.stop_token_ids),
        "pad_token_id": pad_token_id,
    }
    if sampling.temperature > 0:
        settings |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    with torch.no_grad():
        output = model.generate(
            input_ids=input_ids.to(model.device),
            attention_mask=attention_mask.to(model.device),
            generation_config=GenerationConfig(**(settings | arguments)),
        )
    return [_cut(ids, sampling.stop_token_ids) for ids in output[:, width:].tolist()]


def _cut(ids: list[int], stop_token_ids: tuple[int, ...]) -> Reply:
    for position, token in enumerate(ids):
        if token in stop_token_ids:
            return Reply(ids[: position + 1], "stop")
    return Reply(ids, "length")


class TransformersEngine:
    """Holds a model of its own and generates with it."""

    name = "transformers"

    def __init__(self, spec: EngineSpec) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        on_gpu = torch.cuda.is_available()
        dtype = {"auto": "bfloat16" if on_gpu else "float32"}.get(spec.dtype, spec.dtype)
        self._arguments = dict(spec.args)
        source: dict[str, Any] = {"revision": spec.revision, "trust_remote_code": spec.trust_remote_code}
        tokenizer = AutoTokenizer.from_pretrained(spec.model, **source)
        pad = tokenizer.pad_token_id
        self._pad_token_id = int(pad if pad is not None else tokenizer.eos_token_id)
        model = AutoModelForCausalLM.from_pretrained(spec.model, dtype=dtype, **source)
        if spec.adapter is not None:
            from tenyson.engines.adapter import put_adapter

            model = put_adapter(model, spec.adapter)
        self._model = model.to("cuda" if on_gpu else "cpu").eval()

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Reply]:
        """One reply for each prompt, in order; the same seed gives the same replies."""
        import torch

        if not prompts:
            return []
        torch.manual_seed(sampling.seed)
        return generate_replies(self._model, prompts, sampling, self._pad_token_id, **self._arguments)

    def close(self) -> None:
        """Free the model's memory."""
        self._model = None
