"""The vLLM engine: continuous batching, on a GPU or with vLLM's CPU build."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from tenyson.engines.adapter import PROBE_IDS, TENSORS
from tenyson.engines.engine import EngineSpec, dtype_of
from tenyson.engines.vllm.requests import Answering, Requests
from tenyson.engines.vllm.start import require_loadable, start_vllm
from tenyson.errors import EngineError


class VllmEngine(Answering):
    """Holds a vLLM instance in this process.

    On a CPU an adapter is merged into a temporary copy of the model first: LoRA requests are about six times slower
    there. On a GPU the adapter is served as a LoRA request, unless it holds embeddings or whole modules, which vLLM does not take.

    Raises:
        MissingDependencyError: vllm is not installed.
        EngineError: vLLM cannot start with this model.
    """

    name = "vllm"

    def __init__(self, spec: EngineSpec) -> None:
        import torch

        on_gpu = torch.cuda.is_available()
        self._scratch: Path | None = None
        self._lora: Any = None
        model = spec.model
        # Of what is drawn from, as the transformers engine reports them.
        arguments: dict[str, Any] = {"logprobs_mode": "processed_logprobs"}
        serves = on_gpu and spec.adapter is not None and _is_plain(spec.adapter)
        if spec.adapter is not None and serves:
            arguments |= {"enable_lora": True, "max_lora_rank": max(8, _rank(spec.adapter))}
        elif spec.adapter is not None:
            require_loadable(spec)
            self._scratch = Path(tempfile.mkdtemp(prefix="tenyson-merged-"))
            model = _merge(spec, self._scratch)
        try:
            self._llm = start_vllm(spec, model, dtype_of(spec.dtype, on_gpu=on_gpu), **arguments)
        except Exception:
            self._remove_scratch()
            raise
        if spec.adapter is not None and serves:
            from vllm.lora.request import LoRARequest

            self._lora = LoRARequest("adapter", 1, spec.adapter)
        self._requests = Requests(self._llm)
        self._requests.lora = self._lora
        if self._lora is not None:
            self._require_effect(str(spec.adapter))

    def _require_effect(self, adapter: str) -> None:
        """vLLM has silently ignored LoRA requests (vllm issues 34186, 55193): compare log-probabilities."""
        from safetensors.torch import load_file

        path = Path(adapter) / TENSORS
        if path.is_file() and not any(
            bool(tensor.any()) for name, tensor in load_file(path).items() if "lora_B" in name
        ):
            return  # untrained, so nothing can differ
        from vllm import SamplingParams

        parameters = SamplingParams(max_tokens=1, temperature=0.0, logprobs=5, detokenize=False)
        request = [{"prompt_token_ids": list(PROBE_IDS)}]
        adapted, plain = (
            self._llm.generate(request, parameters, use_tqdm=False, lora_request=lora)[0]
            .outputs[0]
            .logprobs[0]
            for lora in (self._lora, None)
        )
        if {token: one.logprob for token, one in adapted.items()} == {
            token: one.logprob for token, one in plain.items()
        }:
            raise EngineError(
                "vLLM has not applied the adapter: it says the same with and without it",
                place=adapter,
                next_step="Merge the adapter into the model, or set generation.engine: transformers.",
            )

    def close(self) -> None:
        """Free the model's memory."""
        self._llm = None
        self._requests = Requests(None)
        self._remove_scratch()

    def _remove_scratch(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def _rank(adapter: str) -> int:
    from peft import PeftConfig

    return int(PeftConfig.from_pretrained(adapter).r)


def _is_plain(adapter: str) -> bool:
    from peft import PeftConfig

    config = PeftConfig.from_pretrained(adapter)
    return not (config.modules_to_save or config.trainable_token_indices)


def _merge(spec: EngineSpec, directory: Path) -> str:
    """Write the model with its adapter merged in. Merged in float32: in bfloat16 small updates are rounded away."""
    import torch
    from transformers import AutoTokenizer

    from tenyson.engines.adapter import merge, put_adapter
    from tenyson.engines.loading import load_causal_lm

    source: dict[str, Any] = {"revision": spec.revision, "trust_remote_code": spec.trust_remote_code}
    model = load_causal_lm(spec.model, dtype="float32", load_args=spec.load_args, **source)
    merged = merge(put_adapter(model, str(spec.adapter)))
    dtype = dtype_of(spec.dtype, on_gpu=torch.cuda.is_available())
    merged.to(torch.bfloat16 if dtype == "bfloat16" else torch.float32).save_pretrained(directory)
    AutoTokenizer.from_pretrained(spec.model, **source).save_pretrained(directory)
    return str(directory)
