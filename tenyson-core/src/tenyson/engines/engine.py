"""Engine: token ids in, token ids out. What makes text is behind this one protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from tenyson.config.schema import EndpointConfig, GenerationConfig


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn: by this alone. An engine takes nothing from the checkpoint's own generation config.

    A further parameter is a field here, a key of `generation` and a name of `SamplingParameter` in config/schema.py, a rule in
    engines/decoding/sampler.py, and its range in engines/endpoint/parameters.py.
    """

    max_new_tokens: int
    """Most tokens of one reply."""
    temperature: float = 1.0
    """0 means greedy."""
    top_p: float = 1.0
    """Smallest probability mass to draw from; 1 means off."""
    top_k: int = 0
    """0 means off."""
    stop_token_ids: tuple[int, ...] = ()
    """The only tokens that end a reply. The stop token itself is part of the output."""
    seed: int = 0
    """The same seed and prompts draw the same tokens."""
    min_p: float = 0.0
    """0 means off."""
    repetition_penalty: float = 1.0
    """1 means off."""
    logprobs: bool = False
    """Whether replies are to carry log-probabilities, where the engine can report them."""

    @property
    def greedy(self) -> bool:
        """Whether only the likeliest token can be drawn, so that every rollout of a prompt is the same."""
        # A top_p below 1 / vocabulary leaves one token, whatever their probabilities are.
        return self.temperature == 0 or self.top_k == 1 or self.min_p == 1 or self.top_p < 1e-6

    @classmethod
    def from_config(cls, generation: GenerationConfig, stop_token_ids: tuple[int, ...]) -> Sampling:
        """What the configuration's `generation` says."""
        drawn = {name: getattr(generation, name) for name in DRAWN}
        return cls(generation.max_new_tokens, stop_token_ids=stop_token_ids, **drawn)


DRAWN: Mapping[str, Any] = {
    one.name: one.default
    for one in fields(Sampling)
    if one.name not in ("max_new_tokens", "stop_token_ids", "seed", "logprobs")
}
"""Parameters by which tokens are drawn, and the value at which each is off.

A configuration's `generation` and vLLM have each under the same name; TRL's GRPOConfig has some of them.
"""


@dataclass(frozen=True)
class Reply:
    """What the model wrote for one prompt."""

    ids: list[int]
    """Token ids, the stop token included."""
    finish_reason: Literal["stop", "length"]
    """`stop`: a stop token ended it; `length`: the limit did."""
    logprobs: list[float] | None = None
    """Log-probability (nats) of each id under the sampling policy, where the engine reports it."""


@dataclass(frozen=True)
class EngineSpec:
    """What an engine is built from."""

    model: str
    """Directory or Hub name of the model; its tokenizer lies with it."""
    revision: str | None = None
    """Branch, tag or commit on the Hub."""
    adapter: str | None = None
    """Directory of a PEFT adapter."""
    dtype: str = "auto"
    """auto, float32, bfloat16 or float16."""
    trust_remote_code: bool = False
    """Whether code that comes with the model may run."""
    attn_implementation: str | None = None
    """Attention kernel of transformers; vLLM has its own."""
    load_args: Mapping[str, Any] = field(default_factory=dict)
    """`model.load_args` of the configuration: how transformers loads the model. An engine that cannot heed one refuses it."""
    seed: int = 0
    """Of the whole run; a call of `generate` has its own."""
    batch_size: int = 256
    """Most prompts in one call of `generate`."""
    turns: int = 1
    """Most replies of one conversation. Above 1, an engine may keep what it has computed from one call to the next."""
    args: dict[str, Any] = field(default_factory=dict)
    """`engine_args` of the configuration, verbatim."""
    endpoint: EndpointConfig | None = None
    """Where the model is, for an engine that asks a URL; `model` is its name there."""


def dtype_of(dtype: str, *, on_gpu: bool) -> str:
    """The type of the weights that `model.dtype` means: `auto` is bfloat16 on a GPU, float32 on a CPU."""
    return dtype if dtype != "auto" else "bfloat16" if on_gpu else "float32"


def request_seed(seed: int, *place: int | str) -> int:
    """The seed of one request: the call's own, and the place of the request in it, mixed to 63 bits.

    Neither the number of requests nor the order in which they end changes it.
    """
    words = "/".join(map(str, (seed, *place)))
    return int.from_bytes(blake2b(words.encode(), digest_size=8).digest()) >> 1


class Engine(Protocol):
    """Generates text. A class registered by `tenyson_engines` is built as `Engine(spec)`."""

    name: str
    """What users write in `generation.engine`."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Reply]:
        """One reply for each prompt, in order. `prompts`: token ids, B x (any length)."""

    def close(self) -> None:
        """Free the model's memory."""


@runtime_checkable
class ContinuousEngine(Protocol):
    """An engine that can also take prompts one by one and give each reply as soon as it is whole.

    Conversations advance independently with it; with another engine, all wait for the longest reply of each turn.
    """

    def add(self, key: int, prompt: Sequence[int], sampling: Sampling) -> None:
        """Queue a prompt (token ids); its reply will come with `key`. `sampling.seed` is the request's own."""

    def finished(self) -> list[tuple[int, Reply]]:
        """Generate until at least one reply is whole; keys and replies. Empty where nothing is queued."""

    def drop(self) -> None:
        """Give up what is queued or under way."""
