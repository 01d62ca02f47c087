"""The renderer: turns conversations into token ids, once and in one way for SFT, rollouts and evaluation.

A conversation is never tokenised again as a whole. A reply keeps the ids that the model wrote, and only what
stands between two replies (the end of the turn, the next user message, the opening of the next reply) is rendered,
so training sees exactly the tokens that generation saw.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from tenyson.engines.renderers.facts import tokenizer_facts
from tenyson.errors import ModelError
from tenyson.tasks.sample import Message, Sample

# Stands in for a reply while the template around it is looked at. Plain letters, so no template rewrites it.
_REPLY = "TENYSONREPLY"


class Renderer:
    """Renders with a tokenizer's chat template.

    Args:
        generation_eos: ids that the checkpoint's generation config ends on.
        template_arguments: `model.chat_template_kwargs`, variables of the template.

    Raises:
        ModelError: the tokenizer has no chat template, its template does not end a reply with a special token, wraps replies
            in markers of its own, or knows no variable of a name in `template_arguments`.
    """

    def __init__(
        self,
        tokenizer: Any,
        generation_eos: Sequence[int] = (),
        template_arguments: Mapping[str, Any] | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._arguments = dict(template_arguments or {})
        if not getattr(tokenizer, "chat_template", None):
            raise ModelError(
                "the model's tokenizer has no chat template",
                place=str(tokenizer.name_or_path),
                next_step="Use an instruction-tuned model, or save a tokenizer whose chat_template is set.",
            )
        self._require_variables()
        self._special = _special_tokens(tokenizer)
        ends = {token for token in generation_eos if self._may_end(token)}
        self.unused_eos: tuple[int, ...] = tuple(sorted(set(generation_eos) - ends))
        """Ids among `generation_eos` that occur in ordinary text, so that no reply may end on them."""
        self.turn_end = self._find_turn_end(ends)
        """Text of the special token that ends a reply."""
        self.turn_end_id: int = tokenizer.convert_tokens_to_ids(self.turn_end)
        ids = {self.turn_end_id, *ends}
        if tokenizer.eos_token_id is not None:
            ids.add(tokenizer.eos_token_id)
        self.stop_token_ids: tuple[int, ...] = tuple(sorted(ids))
        self._require_plain_replies()
        self._fault_between = self._find_fault_between()

    @property
    def tokenizer(self) -> Any:
        """The model's own."""
        return self._tokenizer

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

        Raises:
            ModelError: the template ends a reply otherwise where the conversation continues.
        """
        if self._fault_between is not None:
            raise self._error(self._fault_between, "Use a model whose template ends every reply in one way.")
        bridge = self._bridge(observation)
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

    def whole(self, messages: Sequence[Message]) -> str:
        """A finished conversation as the chat template itself writes it."""
        return self._render(messages, opening=False)

    def raw(self, ids: Sequence[int]) -> str:
        """Text of ids as they are, special tokens included."""
        return str(self._tokenizer.decode(ids, skip_special_tokens=False))

    @cache  # noqa: B019  a job has one renderer, for as long as it runs
    def fingerprint(self) -> str:
        """A hash of template, tokenizer, special and stop tokens: equal where two models read prompts alike."""
        facts: dict[str, Any] = {
            "template": self._tokenizer.chat_template,
            "tokenizer": tokenizer_facts(self._tokenizer),
            "special": {role: str(token) for role, token in self._tokenizer.special_tokens_map.items()},
            "stop": self.stop_token_ids,
        }
        if self._arguments:
            facts["arguments"] = self._arguments
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def _render(self, messages: Sequence[Message], opening: bool = True) -> str:
        try:
            return str(
                self._tokenizer.apply_chat_template(
                    list(messages), tokenize=False, add_generation_prompt=opening, **self._arguments
                )
            )
        except Exception as error:
            raise ModelError(
                f"the chat template refuses a conversation of {[message['role'] for message in messages]}: {error}",
                place=str(self._tokenizer.name_or_path),
            ) from error

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _bridge(self, observation: str) -> str:
        """From the end of a reply on, where a user's message follows."""
        conversation: list[Message] = [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": _REPLY},
            {"role": "user", "content": observation},
        ]
        return self._render(conversation).rpartition(_REPLY)[2]

    def _find_turn_end(self, ends: set[int]) -> str:
        question: list[Message] = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _REPLY}]
        rest = self._render(question, opening=False).rpartition(_REPLY)[2]
        named = set(self._tokenizer.convert_ids_to_tokens(sorted(ends)))
        if found := [token for token in self._special | named if token and rest.startswith(token)]:
            return max(found, key=len)
        ordinary = [token for token in self._tokenizer.get_added_vocab() if token and rest.startswith(token)]
        if ordinary:
            raise self._error(
                f"the chat template ends a reply with {max(ordinary, key=len)!r}, an added token that is not a special one: it "
                "occurs in ordinary text, and every reply would end there",
                "Use a model whose template closes a reply with a special token, or mark the token as special in the tokenizer.",
            )
        raise self._error(
            f"the chat template ends a reply with {rest!r}, not with a special token, so no reply could ever stop",
        )

    def _may_end(self, token: int) -> bool:
        """Whether an EOS token of the generation config may end a reply: a special token, or an added one with a text of its
        own. A blank line or a word may not."""
        text = self._tokenizer.convert_ids_to_tokens(token)
        return text in self._special or (text in self._tokenizer.get_added_vocab() and bool(text.strip()))

    def _require_plain_replies(self) -> None:
        """Refuse a template that writes markers of its own between the opening of a reply and its text, as GPT-OSS does with
        its channels. Blocks of thought are left to the model."""
        question: list[Message] = [{"role": "user", "content": "?"}]
        reply: Message = {"role": "assistant", "content": _REPLY}
        opening, whole = self._render(question), self.whole([*question, reply])
        before = whole.removeprefix(opening).partition(_REPLY)[0] if whole.startswith(opening) else ""
        if any(token in before and "think" not in token.lower() for token in self._special):
            raise self._error(
                f"the chat template writes {before!r} between the opening of a reply and its text (channels or recipients, as "
                "GPT-OSS has them). Tenyson would leave that out in training and take it for text in generation",
                "Use a model whose template writes a reply as plain text with one end.",
            )

    def _find_fault_between(self) -> str | None:
        """Why replies cannot be followed by another turn; None if they can."""
        try:
            bridge = self._bridge("?")
        except ModelError:
            return None  # `between` says so, where it is needed
        if bridge.startswith(self.turn_end):
            return None
        end = next((token for token in self._special if token and bridge.startswith(token)), bridge[:20])
        return (
            f"the chat template ends a reply with {end!r} within a conversation and with {self.turn_end!r} at its end, so what a "
            "model wrote cannot be continued as it stands"
        )

    def _require_variables(self) -> None:
        template = str(self._tokenizer.chat_template)
        for name in self._arguments:
            if not re.search(rf"\b{re.escape(name)}\b", template):
                raise self._error(
                    f"model.chat_template_kwargs: the chat template has no variable {name}",
                    "Take it out, or correct its name; the template lies beside the tokenizer.",
                )

    def _error(self, cause: str, next_step: str | None = None) -> ModelError:
        return ModelError(cause, place=str(self._tokenizer.name_or_path), next_step=next_step)


def _special_tokens(tokenizer: Any) -> set[str]:
    """Texts of a tokenizer's special tokens: never part of what somebody writes."""
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return {str(token) for token in added if getattr(token, "special", False)} | set(
        tokenizer.all_special_tokens
    )
