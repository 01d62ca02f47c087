"""The policy of a training in vLLM: weights are replaced in place, on a CPU in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tenyson.engines.engine import EngineSpec
from tenyson.engines.vllm.requests import Answering, Requests
from tenyson.engines.vllm.start import start_vllm
from tenyson.engines.vllm.weights import merged_weights


class VllmPolicy(Answering):
    """A `PolicyEngine` that holds a copy of the weights in a vLLM instance in this process.

    Full weights and adapters go over alike: an adapter is merged into copies of its layers, since vLLM's LoRA requests are
    several times slower than merged weights on a CPU. Replies carry the log-probabilities of what was drawn, under the
    distribution that it was drawn from.

    Args:
        arguments: of vllm.SamplingParams, for every request.

    Raises:
        MissingDependencyError: vllm is not installed.
        EngineError: vLLM cannot start with this model.
    """

    name = "vllm"

    def __init__(self, spec: EngineSpec, **arguments: Any) -> None:
        self._llm = start_vllm(spec, spec.model, spec.dtype, logprobs_mode="processed_logprobs")
        self._requests = Requests(self._llm, logprobs=True, arguments=arguments)

    def update(self, model: Any) -> None:
        """Take over all weights of `model` (of transformers or PEFT), which stays as it is."""
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": merged_weights(model)})
        self.refresh()

    def refresh(self) -> None:
        """Forget what is cached of earlier prompts, so that a batch comes out the same whatever came before it."""
        self._llm.reset_prefix_cache()

    def logprobs(self, ids: Sequence[int]) -> list[float]:
        """Log-probability (nats, at temperature 1) of each of `ids` but the first, given those before it."""
        return self._requests.prompt_logprobs(ids)

    def close(self) -> None:
        """Free its memory."""
        self._llm = None
        self._requests = Requests(None)
