"""The vLLM engine: continuous batching, on a GPU or with vLLM's CPU build."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tenyson.engines.adapter import PROBE_IDS, TENSORS
from tenyson.engines.engine import EngineSpec, Reply, Sampling
from tenyson.errors import EngineError, MissingDependencyError


class VllmEngine:
    """Holds a vLLM instance in this process.

    On a CPU an adapter is merged into a temporary copy of the model first: LoRA requests are about six times slower
    there. On a GPU the adapter is served as a LoRA request.

    Raises:
        MissingDependencyError: vllm is not installed.
        EngineError: vLLM cannot start with this model.
    """

    name = "vllm"

    def __init__(self, spec: EngineSpec) -> None:
        import torch

        on_gpu = torch.cuda.is_available()
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        if not on_gpu:
            # Its own worker processes take a minute to start on a CPU, and it would take 40% of memory for its cache.
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
            os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
        try:
            import vllm
        except ImportError as error:
            raise MissingDependencyError(
                "vllm", needed_for="generation.engine: vllm", install="tenyson-core[vllm]"
            ) from error

        self._vllm = vllm
        self._scratch: Path | None = None
        self._lora: Any = None
        model = spec.model
        arguments: dict[str, Any] = {
            "dtype": {"auto": "bfloat16"}.get(spec.dtype, spec.dtype),
            "seed": spec.seed,
            "revision": spec.revision,
            "trust_remote_code": spec.trust_remote_code,
            "max_num_seqs": spec.batch_size,
            "disable_log_stats": True,
            # Not the checkpoint's own defaults for sampling: they would hold wherever a parameter is left open.
            "generation_config": "vllm",
        }
        if not on_gpu:
            arguments |= {"enforce_eager": True}
        if spec.adapter is not None and on_gpu:
            from vllm.lora.request import LoRARequest

            arguments |= {"enable_lora": True, "max_lora_rank": max(8, _rank(spec.adapter))}
            self._lora = LoRARequest("adapter", 1, spec.adapter)
        elif spec.adapter is not None:
            self._scratch = Path(tempfile.mkdtemp(prefix="tenyson-merged-"))
            model = _merge(spec, self._scratch)
        try:
            self._llm = vllm.LLM(model=model, **(arguments | spec.args))
        except Exception as error:
            self._remove_scratch()
            raise EngineError(
                f"vLLM cannot start with {spec.model}: {error}",
                next_step="Set generation.engine: transformers, or change engine_args.",
            ) from error
        if self._lora is not None:
            self._require_effect(str(spec.adapter))

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Reply]:
        """One reply for each prompt, in order."""
        parameters = self._vllm.SamplingParams(**sampling_parameters(sampling))
        requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        outputs = self._llm.generate(requests, parameters, use_tqdm=False, lora_request=self._lora)
        return [_reply(output.outputs[0], sampling.stop_token_ids) for output in outputs]

    def _require_effect(self, adapter: str) -> None:
        """vLLM has silently ignored LoRA requests (vllm issues 34186, 55193): compare log-probabilities."""
        from safetensors.torch import load_file

        path = Path(adapter) / TENSORS
        if path.is_file() and not any(
            bool(tensor.any()) for name, tensor in load_file(path).items() if "lora_B" in name
        ):
            return  # untrained, so nothing can differ
        parameters = self._vllm.SamplingParams(max_tokens=1, temperature=0.0, logprobs=5, detokenize=False)
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
        self._remove_scratch()

    def _remove_scratch(self) -> None:
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)


def sampling_parameters(sampling: Sampling) -> dict[str, Any]:
    """Arguments of vllm.SamplingParams, each that draws or ends among them."""
    return {
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        "stop_token_ids": list(sampling.stop_token_ids),
        # vLLM would end on every EOS token of the checkpoint's generation config too.
        "ignore_eos": True,
        "detokenize": False,
    }


def _reply(output: Any, stop_token_ids: tuple[int, ...]) -> Reply:
    ids = list(output.token_ids)
    return Reply(ids, "stop" if ids and ids[-1] in stop_token_ids else "length")


def _rank(adapter: str) -> int:
    from peft import PeftConfig

    return int(PeftConfig.from_pretrained(adapter).r)


def _merge(spec: EngineSpec, directory: Path) -> str:
    """Write the model with its adapter merged in. Merged in float32: in bfloat16 small updates are rounded away."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tenyson.engines.adapter import put_adapter

    source: dict[str, Any] = {"revision": spec.revision, "trust_remote_code": spec.trust_remote_code}
    model = AutoModelForCausalLM.from_pretrained(spec.model, dtype=torch.float32, **source)
    merged = put_adapter(model, str(spec.adapter)).merge_and_unload()
    merged.to(torch.bfloat16 if spec.dtype in ("auto", "bfloat16") else torch.float32).save_pretrained(
        directory
    )
    AutoTokenizer.from_pretrained(spec.model, **source).save_pretrained(directory)
    return str(directory)
