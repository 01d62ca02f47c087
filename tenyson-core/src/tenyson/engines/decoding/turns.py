"""Generates turn after turn of a batch of conversations, and computes only what each turn adds.

Shape legend: B conversations; R rows of one forward pass; W new tokens; V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from tenyson.engines.decoding.cache import ConversationCache
from tenyson.engines.decoding.sampler import Row, Sampler
from tenyson.engines.engine import Reply, Sampling

_TOKENS_AT_ONCE = 16_384
"""New tokens in one forward pass, padding included: bounds the memory of its activations."""
_WORTH_DROPPING = 0.5
"""Rows whose reply has ended are computed on until they are this share: leaving them out copies the others' cache."""


class Turns:
    """The conversations of one batch.

    Call `generate` once for each turn. As long as every prompt continues one of the conversations of the call before, only its new
    tokens are computed; otherwise all of them are. The weights must not change in between.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache = ConversationCache(0)
        self._known: list[list[int]] = []
        """Tokens of each conversation whose keys and values are in the cache."""

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Reply]:
        """One reply for each of B prompts, in order; draws from torch's global generator of the CPU."""
        asked = [list(prompt) for prompt in prompts]
        with torch.no_grad():
            logits = self._read(asked, max(map(len, asked)) + sampling.max_new_tokens)
            replies = self._write(asked, logits, sampling)
        # The last token of a reply is computed with the turn that follows.
        self._known = [prompt + reply.ids[:-1] for prompt, reply in zip(asked, replies, strict=True)]
        return replies

    def _read(self, prompts: list[list[int]], length: int) -> torch.Tensor:
        """Compute what is new in the prompts; returns the logits (B, V) of what follows each of them.

        Args:
            length: most tokens that a conversation will have when this turn has ended.
        """
        rows = _continued(self._known, prompts)
        if rows is not None:
            self._cache.make_room(length)
            if rows != list(range(len(self._known))):
                self._cache.keep(self._indices(rows))
            return self._forward_all(prompts, [len(self._known[row]) for row in rows])
        # The completions of a group have one prompt.
        unique = {tuple(prompt): number for number, prompt in enumerate(dict.fromkeys(map(tuple, prompts)))}
        self._cache = ConversationCache(len(unique))
        self._cache.make_room(length)
        logits = self._forward_all([list(prompt) for prompt in unique], [0] * len(unique))
        if len(unique) == len(prompts):
            return logits
        copies = self._indices([unique[tuple(prompt)] for prompt in prompts])
        self._cache.keep(copies)
        return logits[copies]

    def _forward_all(self, prompts: list[list[int]], known: list[int]) -> torch.Tensor:
        """Logits (B, V) after each prompt, of which the first `known` tokens are in the cache."""
        news = [prompt[start:] for prompt, start in zip(prompts, known, strict=True)]
        found: list[torch.Tensor] = []
        order: list[int] = []
        for chunk in _chunks([len(new) for new in news]):
            width = max(len(news[row]) for row in chunk)
            ids = torch.zeros(len(chunk), width, dtype=torch.long)
            positions = torch.full_like(ids, -1)
            for line, row in enumerate(chunk):
                new = news[row]
                ids[line, width - len(new) :] = torch.tensor(new)
                positions[line, width - len(new) :] = torch.arange(known[row], known[row] + len(new))
            rows = None if len(chunk) == len(prompts) else self._indices(chunk)
            if rows is None and chunk != list(range(len(prompts))):
                back = torch.tensor(sorted(range(len(chunk)), key=chunk.__getitem__))
                ids, positions, chunk = ids[back], positions[back], sorted(chunk)
            device = self._model.device
            found.append(self._forward(ids.to(device), positions.to(device), rows))
            order += chunk
        logits = torch.cat(found)
        return logits if order == sorted(order) else logits[self._indices(_inverse(order))]

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor, rows: torch.Tensor | None) -> torch.Tensor:
        """Logits (R, V) after the last of W new tokens in each row."""
        mask = self._cache.at(rows, positions)
        if self._model.config._attn_implementation == "eager":  # which adds the mask
            dtype = self._model.dtype
            mask = torch.zeros_like(mask, dtype=dtype).masked_fill_(~mask, torch.finfo(dtype).min)
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions.clamp(min=0),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _write(self, prompts: list[list[int]], logits: torch.Tensor, sampling: Sampling) -> list[Reply]:
        """Draw replies token by token, beginning with `logits` (B, V)."""
        sampler, device = Sampler(sampling), self._model.device
        ids: list[list[int]] = [[] for _ in prompts]
        logprobs: list[list[float]] = [[] for _ in prompts]
        # They grow with the replies.
        texts = [Row(prompt, reply) for prompt, reply in zip(prompts, ids, strict=True)]
        stops = set(sampling.stop_token_ids)
        computed = list(range(len(prompts)))
        """Rows that take part in the forward pass: those that continue, and for a while those that have ended."""
        going = set(computed)
        positions = torch.tensor([len(prompt) for prompt in prompts], device=device)
        rows: torch.Tensor | None = None
        for left in range(sampling.max_new_tokens, 0, -1):
            # For all rows, so that no row's draw depends on which others have ended.
            uniform = torch.rand(len(prompts))
            chances = (uniform if rows is None else uniform[computed]).to(device)
            tokens = sampler.draw(logits, chances, [texts[row] for row in computed])
            if sampling.logprobs:
                for row, logprob in zip(computed, sampler.logprobs(tokens).tolist(), strict=True):
                    if row in going:
                        logprobs[row].append(logprob)
            for row, token in zip(computed, tokens.tolist(), strict=True):
                if row in going:
                    ids[row].append(token)
                    if token in stops:
                        going.discard(row)
            if left == 1 or not going:
                break
            if len(going) <= _WORTH_DROPPING * len(computed):
                kept = [line for line, row in enumerate(computed) if row in going]
                computed = [computed[line] for line in kept]
                rows, lines = self._indices(computed), self._indices(kept)
                tokens, positions = tokens[lines], positions[lines]
            # Rows that have ended write to where the next turn writes again.
            logits = self._forward(tokens[:, None], positions[:, None], rows)
            positions = positions + 1
        return [
            Reply(reply, "stop" if reply[-1] in stops else "length", found if sampling.logprobs else None)
            for reply, found in zip(ids, logprobs, strict=True)
        ]

    def _indices(self, rows: Sequence[int]) -> torch.Tensor:
        return torch.tensor(rows, dtype=torch.long, device=self._model.device)


def _continued(known: Sequence[list[int]], prompts: Sequence[list[int]]) -> list[int] | None:
    """Which conversation each prompt continues, both in order; None if one continues none."""
    rows: list[int] = []
    candidates = iter(enumerate(known))
    for prompt in prompts:
        for row, tokens in candidates:
            if len(tokens) < len(prompt) and prompt[: len(tokens)] == tokens:
                rows.append(row)
                break
        else:
            return None
    return rows


def _chunks(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows for one forward pass after the other, those of like length together."""
    chunk: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if chunk and (len(chunk) + 1) * lengths[row] > _TOKENS_AT_ONCE:
            yield chunk
            chunk = []
        chunk.append(row)
    yield chunk


def _inverse(order: Sequence[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)
