"""The transformers engine, on any machine: `generate` for single replies, and `Turns` for conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tenyson.engines.engine import EngineSpec, Reply, Sampling, dtype_of
from tenyson.engines.loading import load_causal_lm
from tenyson.errors import ConfigError

if TYPE_CHECKING:
    from tenyson.engines.decoding.turns import Turns


def generate_replies(
    model: Any, prompts: Sequence[Sequence[int]], sampling: Sampling, pad_token_id: int, **arguments: Any
) -> list[Reply]:
    """Sample one reply for each of B prompts with a loaded model; draws from torch's global generator.

    What `sampling` and `arguments` leave open is off: transformers would take it from the checkpoint's generation config.

    Args:
        arguments: go to transformers' GenerationConfig verbatim.
    """
    import torch
    from transformers import GenerationConfig, LogitsProcessorList

    from tenyson.engines.decoding.sampler import GENERATE_PENALTIES, WARPERS, GeneratePenalties

    width = max(map(len, prompts))
    input_ids = torch.full((len(prompts), width), pad_token_id, dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for row, prompt in enumerate(prompts):
        input_ids[row, width - len(prompt) :] = torch.tensor(prompt)
        attention_mask[row, width - len(prompt) :] = 1
    settings: dict[str, Any] = {
        "max_new_tokens": sampling.max_new_tokens,
        "do_sample": sampling.temperature > 0,
        "eos_token_id": list(sampling.stop_token_ids) or None,
        "pad_token_id": pad_token_id,
        **{name: getattr(sampling, name) for name in GENERATE_PENALTIES},
        # Compiling pays off for shapes that stay the same; here they differ from turn to turn.
        "disable_compile": True,
    }
    if sampling.temperature > 0:
        settings |= {name: getattr(sampling, name) for name in WARPERS}
        # At 0 `generate` would compute it all the same.
        settings["min_p"] = sampling.min_p or None
    with torch.no_grad(), own_settings_hidden(model), _refusals(arguments):
        output = model.generate(
            input_ids=input_ids.to(model.device),
            attention_mask=attention_mask.to(model.device),
            generation_config=GenerationConfig(**(settings | arguments)),
            logits_processor=LogitsProcessorList([GeneratePenalties(sampling, prompts)]),
            **({"return_dict_in_generate": True, "output_scores": True} if sampling.logprobs else {}),
        )
    if not sampling.logprobs:
        return [_cut(ids, sampling.stop_token_ids) for ids in output[:, width:].tolist()]
    written = output.sequences[:, width:]
    scores = torch.stack(
        [
            row.float().log_softmax(-1).gather(1, written[:, at, None])[:, 0]
            for at, row in enumerate(output.scores)
        ],
        dim=1,
    )
    replies = [_cut(ids, sampling.stop_token_ids) for ids in written.tolist()]
    return [
        replace(one, logprobs=row[: len(one.ids)]) for one, row in zip(replies, scores.tolist(), strict=True)
    ]


class KeptTurns:
    """Where a batch of conversations keeps its keys and values from turn to turn, if the model allows it.

    Args:
        say: told once why not.
    """

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        self._say = say
        self._turns: Turns | None = None
        self._reason: str | None = None

    def of(self, model: Any, arguments: Mapping[str, Any], *, begins: bool) -> Turns | None:
        """What generates this turn; None where `generate` has to compute it whole.

        Args:
            arguments: what a configuration gives to GenerationConfig, which `generate` alone follows.
            begins: the first turn of a batch. It begins with an empty cache: weights may have changed, and a resumed
                training has no cache either.
        """
        from tenyson.engines.decoding.support import why_not
        from tenyson.engines.decoding.turns import Turns

        if begins:
            given = f"{', '.join(sorted(arguments))}: only `generate` follows it" if arguments else None
            reason = given or why_not(model)
            self._turns = None if reason else Turns(model)
            if reason and reason != self._reason:
                self._say(f"each turn computes its whole prompt again: {reason}")
            self._reason = reason
        return self._turns

    def end(self) -> None:
        """The batch is over: free its memory."""
        self._turns = None


@contextmanager
def _refusals(arguments: Mapping[str, Any]) -> Iterator[None]:
    """What transformers refuses of a configuration's own arguments is one line.

    Raises: ConfigError.
    """
    try:
        yield
    except (ValueError, TypeError, AttributeError, ImportError) as error:
        if not arguments:
            raise
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ConfigError(
            f"transformers cannot generate with {', '.join(sorted(arguments))}: {reason}",
            next_step="Look at engine_args (and trl.generation_kwargs) in the configuration.",
        ) from error


@contextmanager
def own_settings_hidden(model: Any) -> Iterator[None]:
    """Hide a model's own generation config: `generate` takes from it whatever its arguments leave open.

    It is put back afterwards, since it is saved with the trained model.
    """
    from transformers import GenerationConfig

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    # PEFT hands its own attribute on to the model underneath.
    holders = [base] if model is base else [base, model]
    kept = [(holder, vars(holder).get("generation_config")) for holder in holders]
    for holder in holders:
        holder.generation_config = GenerationConfig()
    try:
        yield
    finally:
        for holder, theirs in kept:
            if theirs is None:
                del holder.generation_config
            else:
                holder.generation_config = theirs


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
        from transformers import AutoTokenizer

        on_gpu = torch.cuda.is_available()
        dtype = dtype_of(spec.dtype, on_gpu=on_gpu)
        self._arguments = dict(spec.args)
        source: dict[str, Any] = {"revision": spec.revision, "trust_remote_code": spec.trust_remote_code}
        tokenizer = AutoTokenizer.from_pretrained(spec.model, **source)
        pad = tokenizer.pad_token_id
        self._pad_token_id = int(pad if pad is not None else tokenizer.eos_token_id)
        model = load_causal_lm(
            spec.model,
            dtype=dtype,
            attn_implementation=spec.attn_implementation,
            load_args=spec.load_args,
            **source,
        )
        if spec.adapter is not None:
            from tenyson.engines.adapter import put_adapter

            model = put_adapter(model, spec.adapter)
        device = torch.device("cuda" if on_gpu else "cpu")
        # What bitsandbytes has quantised is there, and must not be moved.
        self._model = (model if model.device.type == device.type else model.to(device)).eval()
        self._turns = KeptTurns().of(self._model, self._arguments, begins=True) if spec.turns > 1 else None

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Reply]:
        """One reply for each prompt, in order; the same seed gives the same replies."""
        import torch

        if not prompts:
            return []
        torch.manual_seed(sampling.seed)
        if self._turns is not None:
            return self._turns.generate(prompts, sampling)
        return generate_replies(self._model, prompts, sampling, self._pad_token_id, **self._arguments)

    def close(self) -> None:
        """Free the model's memory."""
        self._model = self._turns = None
