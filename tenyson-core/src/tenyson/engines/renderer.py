"""The renderer: turns conversations into token ids, once and in one way for SFT, rollouts and evaluation.

A conversation is never tokenised again as a whole. A reply keeps the ids that the model wrote, and only what
stands between two replies (the end of the turn, the next user message, the opening of the next reply) is rendered,
so training sees exactly the tokens that generation saw.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import cache
from typing import Any

from tenyson.errors import ModelError
from tenyson.tasks.sample import Message, Sample

# Stands in for a reply while the template around it is looked at. Plain letters, so no template rewrites it.
_REPLY = "TENYSONREPLY"


class Renderer:
    """Renders with a tokenizer's chat template.

    Raises:
        ModelError: the tokenizer has no chat template, or its template does not end a reply with a special token.
    """

    def __init__(self, tokenizer: Any, generation_eos: Sequence[int] = ()) -> None:
        self._tokenizer = tokenizer
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                "the model's tokenizer has no chat template",
                place=str(tokenizer.name_or_path),
                next_step="Use an instruction-tuned model, or save a tokenizer whose chat_template is set.",
            )
        self.turn_end = self._find_turn_end()
        """Text of the special token that ends a reply."""
        self.turn_end_id: int = tokenizer.convert_tokens_to_ids(self.turn_end)
        ids = {self.turn_end_id, *generation_eos}
        if tokenizer.eos_token_id is not None:
            ids.add(tokenizer.eos_token_id)
        self.stop_token_ids: tuple[int, ...] = tuple(sorted(ids))

    @property
    def pad_token_id(self) -> int:
        """The id that fills up short sequences."""
        pad = self._tokenizer.pad_token_id
        return int(pad if pad is not None else self._tokenizer.eos_token_id)

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids of a conversation, up to where the model's reply begins."""
        return self._ids(self._render(messages))

    def reply(self, text: str) -> list[int]:
        """Ids of a reply as the model should have written it, its end included."""
        return [*self._ids(text), self.turn_end_id]

    def between(self, observation: str, *, ended: bool = True) -> list[int]:
        """Ids from the end of one reply to the start of the next, with `observation` as the user's message.

        `ended`: whether the reply already holds its stop token; a reply that was cut off gets one here.
        """
        conversation: list[Message] = [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": _REPLY},
            {"role": "user", "content": observation},
        ]
        bridge = self._render(conversation).rpartition(_REPLY)[2]
        if ended:
            bridge = bridge.removeprefix(self.turn_end)
        return self._ids(bridge)

    def conversation(self, sample: Sample) -> tuple[list[int], list[int]]:
        """Ids of a whole SFT sample, and a mask of the same length: 1 where the model is to learn.

        Raises:
            ModelError: the completion is not assistant and user messages in turn, beginning with the assistant.
        """
        roles = [message["role"] for message in sample.completion]
        if (
            roles[::2] != ["assistant"] * len(roles[::2])
            or roles[1::2] != ["user"] * len(roles[1::2])
            or not roles
        ):
            raise ModelError(
                f"the completion of sample {sample.id} must be assistant, user, assistant, ...; it is {roles}"
            )
        ids = self.prompt(sample.prompt)
        mask = [0] * len(ids)
        for message in sample.completion:
            learn = message["role"] == "assistant"
            piece = self.reply(message["content"]) if learn else self.between(message["content"])
            ids += piece
            mask += [int(learn)] * len(piece)
        return ids, mask

    def text(self, ids: Sequence[int]) -> str:
        """A reply's text, without its stop token."""
        kept = [token for token in ids if token not in self.stop_token_ids]
        return str(self._tokenizer.decode(kept, skip_special_tokens=True))

    def raw(self, ids: Sequence[int]) -> str:
        """Text of ids as they are, special tokens included."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    @cache  # noqa: B019  a job has one renderer, for as long as it runs
    def fingerprint(self) -> str:
        """A hash of template, tokenizer, special and stop tokens: equal where two models read prompts alike."""
        facts = {
            "template": self._tokenizer.chat_template,
            "tokenizer": _behaviour(self._tokenizer),
            "special": {role: str(token) for role, token in self._tokenizer.special_tokens_map.items()},
            "stop": self.stop_token_ids,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def _render(self, messages: Sequence[Message], opening: bool = True) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    list(messages), tokenize=False, add_generation_prompt=opening
                )
            )
        except Exception as error:
            raise ModelError(
                f"the chat template refuses a conversation of {[message['role'] for message in messages]}: {error}",
                place=str(self._tokenizer.name_or_path),
            ) from error

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _find_turn_end(self) -> str:
        question: list[Message] = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _REPLY}]
        rest = self._render(question, opening=False).rpartition(_REPLY)[2]
        special: set[str] = set(self._tokenizer.get_added_vocab()) | set(self._tokenizer.all_special_tokens)
        ends = [token for token in special if token and rest.startswith(token)]
        if not ends:
            raise ModelError(
                f"the chat template ends a reply with {rest!r}, not with a special token, so no reply could ever stop",
                place=str(self._tokenizer.name_or_path),
            )
        return max(ends, key=len)


def _behaviour(tokenizer: Any) -> Any:
    """All that decides which ids a text gets: the same vocabulary may be used with other merges or other spelling."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:  # one written in Python alone, whose rules are code
        return sorted(tokenizer.get_vocab().items())
    facts = json.loads(backend.to_str())
    # Set by whoever called it last; nobody here has a prompt padded or cut by the tokenizer.
    return {name: value for name, value in facts.items() if name not in ("padding", "truncation")}
