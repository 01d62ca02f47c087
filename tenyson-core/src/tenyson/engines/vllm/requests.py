"""Requests to a vLLM engine: what is sampled, with which seed, and what comes back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tenyson.engines.engine import DRAWN, Reply, Sampling, request_seed
from tenyson.errors import EngineError


class Requests:
    """Adds requests to an `LLM` of vLLM and gives each reply as soon as it is there.

    Each request has a generator of its own, seeded by its sampling: what runs beside it reaches no random number. Torch's
    global generator stays as it is.

    `arguments`: of vllm.SamplingParams, which take precedence over what the sampling says.
    """

    def __init__(
        self, llm: Any, *, logprobs: bool = False, arguments: Mapping[str, Any] | None = None
    ) -> None:
        self._llm = llm
        self._arguments = dict(arguments or {})
        self._logprobs = logprobs
        self._keys: dict[str, tuple[int, Sampling]] = {}
        self._added = 0
        self.lora: Any = None
        """A LoRARequest that holds for what is added from now on."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Reply]:
        """One reply for each prompt, in order; the seed of each is that of the call and its position."""
        replies: dict[int, Reply] = {}
        try:
            for position, prompt in enumerate(prompts):
                self.add(position, prompt, replace(sampling, seed=request_seed(sampling.seed, position)))
            while found := self.finished():
                replies.update(found)
        except BaseException:
            self.drop()
            raise
        return [replies[position] for position in range(len(prompts))]

    def add(self, key: int, prompt: Sequence[int], sampling: Sampling) -> None:
        """Queue a prompt; its reply will come with `key`."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        given = sampling_parameters(sampling) | {
            "seed": None if sampling.greedy else sampling.seed,
            "logprobs": 0 if self._logprobs or sampling.logprobs else None,
            "output_kind": RequestOutputKind.FINAL_ONLY,
        }
        parameters = SamplingParams(**(given | self._arguments))
        name = f"tenyson-{self._added}"
        self._added += 1
        self._llm.llm_engine.add_request(
            name, {"prompt_token_ids": list(prompt)}, parameters, lora_request=self.lora
        )
        self._keys[name] = (key, sampling)

    def finished(self) -> list[tuple[int, Reply]]:
        """Generate until at least one reply is whole; empty where nothing is queued. Raises: EngineError."""
        found: list[tuple[int, Reply]] = []
        with _global_generator_kept():
            while self._keys and not found:
                if not self._llm.llm_engine.has_unfinished_requests():
                    self._keys.clear()
                    raise EngineError("vLLM ended without an answer to every request")
                for output in self._llm.llm_engine.step():
                    if output.finished and output.request_id in self._keys:
                        key, sampling = self._keys.pop(output.request_id)
                        found.append((key, _reply(output.outputs[0], sampling.stop_token_ids)))
        return found

    def drop(self) -> None:
        """Give up what is queued or under way."""
        if self._keys:
            self._llm.llm_engine.abort_request(list(self._keys), internal=False)
            self._keys.clear()

    def prompt_logprobs(self, ids: Sequence[int]) -> list[float]:
        """Log-probability (nats, at temperature 1) of each of `ids` but the first, given those before it."""
        from vllm import SamplingParams

        parameters = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
        with _global_generator_kept():
            [output] = self._llm.generate(
                [{"prompt_token_ids": list(ids)}], parameters, use_tqdm=False, lora_request=self.lora
            )
        rows = output.prompt_logprobs[1:]
        return [float(row[token].logprob) for row, token in zip(rows, ids[1:], strict=True)]


class Answering:
    """A `ContinuousEngine` by what it holds in `_requests`."""

    _requests: Requests

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Reply]:
        """One reply for each prompt, in order."""
        return self._requests.generate(prompts, sampling)

    def add(self, key: int, prompt: Sequence[int], sampling: Sampling) -> None:
        """Queue a prompt; its reply will come with `key`."""
        self._requests.add(key, prompt, sampling)

    def finished(self) -> list[tuple[int, Reply]]:
        """Generate until at least one reply is whole; empty where nothing is queued."""
        return self._requests.finished()

    def drop(self) -> None:
        """Give up what is queued or under way."""
        self._requests.drop()


def sampling_parameters(sampling: Sampling) -> dict[str, Any]:
    """Arguments of vllm.SamplingParams, each that draws or ends among them; the seed aside.

    Raises: EngineError: vLLM has no parameter of that name.
    """
    from vllm import SamplingParams

    drawn = {name: getattr(sampling, name) for name in DRAWN}
    known = SamplingParams.__struct_fields__
    for name, value in drawn.items():
        if name not in known and value != DRAWN[name]:
            raise EngineError(
                f"vLLM cannot draw with {name}: {value}",
                place=f"generation.{name}",
                next_step="Leave it out, or set generation.engine: transformers.",
            )
    return {
        # Off; a field of `Sampling` of the same name takes precedence.
        "presence_penalty": 0.0,
        "frequency_penalty": 0.0,
        **{name: value for name, value in drawn.items() if name in known},
        "max_tokens": sampling.max_new_tokens,
        "stop_token_ids": list(sampling.stop_token_ids),
        # vLLM would end on every EOS token of the checkpoint's generation config too.
        "ignore_eos": True,
        "detokenize": False,
    }


def _reply(output: Any, stop_token_ids: tuple[int, ...]) -> Reply:
    ids = list(output.token_ids)
    logprobs = output.logprobs and [
        float(row[token].logprob) for row, token in zip(output.logprobs, ids, strict=True)
    ]
    return Reply(ids, "stop" if ids and ids[-1] in stop_token_ids else "length", logprobs or None)


@contextmanager
def _global_generator_kept() -> Iterator[None]:
    """vLLM draws from torch's global generator on a CPU at each step, also where every request has its own seed."""
    import torch

    with torch.random.fork_rng(devices=[]):
        yield
