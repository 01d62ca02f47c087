"""The renderer: turns conversations into token ids, once and in one way for SFT, rollouts and evaluation.

A conversation is never tokenised again as a whole. A reply keeps the ids that the model wrote, and only what
stands between two replies (the end of the turn, the next user message, the opening of the next reply) is rendered,
so training sees exactly the tokens that generation saw.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cache, cached_property, lru_cache
from itertools import pairwise
from typing import Any, Literal

from tenyson.engines.renderers.ends import Ends
from tenyson.engines.renderers.parsed import Parsed
from tenyson.engines.renderers.replies import Replies
from tenyson.engines.renderers.reply_format import QUESTION, find_format
from tenyson.engines.renderers.template import ChatTemplate
from tenyson.engines.renderers.tokenizer_facts import tokenizer_facts
from tenyson.engines.renderers.tool_formats import ToolFormat, find_tool_format
from tenyson.errors import ModelError
from tenyson.tasks.sample import Message, Sample, ToolCall

Reasoning = Literal["keep", "last", "drop"]
"""`training.reasoning`."""


class Renderer:
    """Renders with a tokenizer's chat template.

    Args:
        generation_eos: ids that the checkpoint's generation config ends on.
        template_arguments: `model.chat_template_kwargs`, variables of the template.
        merge_system: whether system messages are put before the first user message (`model.system: merge`).

    Raises:
        ModelError: the tokenizer has no chat template, its template ends a reply neither with a special token nor with that of
            the next message, or knows no variable of a name in `template_arguments`.
    """

    def __init__(
        self,
        tokenizer: Any,
        generation_eos: Sequence[int] = (),
        template_arguments: Mapping[str, Any] | None = None,
        *,
        merge_system: bool = False,
    ) -> None:
        self._template = ChatTemplate(tokenizer, template_arguments, merge_system=merge_system)
        self.format = find_format(self._template)
        """How replies are written."""
        self._ends = Ends(self._template, generation_eos, tools=self._tools is not None)
        self.unused_eos: tuple[int, ...] = self._ends.unused
        """Ids among `generation_eos` that occur in ordinary text, so that no reply may end on them."""
        self.turn_end: str = self._ends.turn
        """Text of the special token that ends a reply."""
        self.turn_end_id: int = tokenizer.convert_tokens_to_ids(self.turn_end)
        self.stop_token_ids: tuple[int, ...] = self._ends.stops
        self._replies = Replies(self._template, self.format, self._ends)

    @property
    def tokenizer(self) -> Any:
        """The model's own."""
        return self._template.tokenizer

    @property
    def pad_token_id(self) -> int:
        """The id that fills up short sequences."""
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else self.tokenizer.eos_token_id)

    def prompt_ids(self, sample: Sample) -> list[int]:
        """Ids of what the model reads of a sample before its first reply: every caller takes them from here."""
        return self.prompt(sample.prompt, sample.tools)

    def prompt(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> list[int]:
        """Ids of a conversation, up to where the model's reply begins.

        Args:
            tools: what the model may call, as `Tool.schema` says it.

        Raises:
            ModelError: the template refuses the messages, or does not write what the tools are.
        """
        if tools:
            self._require_tools(tools)
        return self._template.ids(self._template.render(messages, tools=tools))

    def reply(self, text: str) -> list[int]:
        """Ids of a reply without reasoning as the model should have written it, its end included."""
        header = self.format.between if self.format.plain is None else self.format.plain
        return [*self._template.ids(header + text), self.turn_end_id]

    def replies(self, sample: Sample) -> list[list[int]]:
        """Ids of each reply in a sample's completion, as `reply` writes it."""
        return [
            self.reply(message["content"]) for message in sample.completion if message["role"] == "assistant"
        ]

    def between(self, reply: Message, answers: Sequence[Message], *, ended: bool = True) -> list[int]:
        """Ids from the end of a reply to the start of the next, with the messages that answer it.

        Args:
            answers: one user message, or the results of the calls in `reply`, or of what was meant for one.
            ended: whether the reply already holds its stop token; a reply that was cut off gets one here.

        Raises:
            ModelError: the template writes a reply otherwise where the conversation continues.
        """
        if [message["role"] for message in answers] == ["user"] and not reply.get("tool_calls"):
            return list(self._before_user(answers[0]["content"], ended))
        if reply.get("tool_calls"):
            end, bridge = self._ends.call, self._ends.after_call(reply, answers)
        else:
            end, bridge = self._ends.turn, self._ends.after_no_call(answers)
        return self._template.ids(bridge.removeprefix(end) if ended else bridge)

    def check_turns(self) -> None:
        """Raises: ModelError: no reply of this template can be followed by another turn."""
        self._ends.after_turn("?")

    @lru_cache(maxsize=1024)  # noqa: B019  a job has one renderer, for as long as it runs
    def _before_user(self, content: str, ended: bool) -> tuple[int, ...]:
        """Environments often give many conversations the same answer, and a template takes a while."""
        bridge = self._ends.after_turn(content)
        return tuple(self._template.ids(bridge.removeprefix(self._ends.turn) if ended else bridge))

    def conversation(self, sample: Sample, reasoning: Reasoning = "keep") -> tuple[list[int], list[int]]:
        """Ids of a whole SFT sample, and a mask of the same length: 1 where the model is to learn.

        Args:
            reasoning: `keep` trains every reply as it was written, its reasoning before it, and shows earlier reasoning to later
                replies, as rollouts do. `last` trains the last reply alone, after earlier ones as the template writes history.
                `drop` leaves reasoning out.

        Raises:
            ModelError: the completion is not assistant and user (or tool) messages in turn, beginning with the assistant; or what
                the template writes for a reply does not follow what generation begins a reply with.
        """
        completion = list(sample.completion)
        _require_turns(sample)
        drop = reasoning == "drop"
        if reasoning == "last":
            last = max(at for at, message in enumerate(completion) if message["role"] == "assistant")
            before = [*sample.prompt, *completion[:last]]
            ids = self.prompt(before)
            piece = self._replies.ids(before, completion[last], sample.id)
            return ids + piece, [0] * len(ids) + [1] * len(piece)
        before, ids = list(sample.prompt), self.prompt_ids(sample)
        mask, answers = [0] * len(ids), list[Message]()
        for message in completion:
            if message["role"] != "assistant":
                answers.append(message)
                continue
            if answers:
                bridge = self.between(before[-1], answers)
                ids, mask = ids + bridge, mask + [0] * len(bridge)
                before, answers = before + answers, []
            piece = self._replies.ids(before, message, sample.id, drop=drop)
            ids, mask = ids + piece, mask + [1] * len(piece)
            before = [*before, message]
        if answers:
            bridge = self.between(before[-1], answers)
            ids, mask = ids + bridge, mask + [0] * len(bridge)
        return ids, mask

    def parse(self, ids: Sequence[int], *, tools: bool = False) -> Parsed:
        """What a reply says: its content, its reasoning, its calls.

        `tools`: whether calls are taken out of the content; leave it off where the model was offered no tool.
        """
        kept = [token for token in ids if token not in self.stop_token_ids]
        if self.format.ordinary and not (tools and self._tools):
            return Parsed(str(self.tokenizer.decode(kept, skip_special_tokens=True)))
        thought, rest = self.format.split(self._template.raw(kept))
        calls: list[ToolCall] = []
        unreadable = False
        if tools and self._tools:
            rest, calls = self._tools.split(rest)
            unreadable = self._tools.begins(rest)
        thought = self._without_special(thought or "").strip() or None
        return Parsed(self._without_special(rest), thought, calls, unreadable)

    def text(self, ids: Sequence[int]) -> str:
        """A reply's text, without its reasoning and its stop token."""
        return self.parse(ids).content

    def message(self, ids: Sequence[int]) -> Message:
        """A reply as a message, with its reasoning apart from its text."""
        return self.parse(ids).message

    def whole(self, messages: Sequence[Message]) -> str:
        """A finished conversation as the chat template itself writes it."""
        return self._template.render([self.format.message(one) for one in messages], opening=False)

    def rewrites(self, sample: Sample, ids: Sequence[int]) -> bool:
        """Whether the template writes a finished sample otherwise than `ids`, which were rendered turn by turn."""
        turn_by_turn = self.raw(ids).removesuffix(self.turn_end)
        return not self.whole([*sample.prompt, *sample.completion]).startswith(turn_by_turn)

    def raw(self, ids: Sequence[int]) -> str:
        """Text of ids as they are, special tokens included."""
        return self._template.raw(ids)

    @cache  # noqa: B019  a job has one renderer, for as long as it runs
    def fingerprint(self) -> str:
        """A hash of template, tokenizer, special and stop tokens: equal where two models read prompts alike."""
        facts: dict[str, Any] = {
            "template": self.tokenizer.chat_template,
            "tokenizer": tokenizer_facts(self.tokenizer),
            "special": {role: str(token) for role, token in self.tokenizer.special_tokens_map.items()},
            "stop": self.stop_token_ids,
        }
        if self._template.arguments:
            facts["arguments"] = self._template.arguments
        if self._template.merge_system:
            facts["system"] = "merge"
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def _require_tools(self, tools: Sequence[Mapping[str, Any]]) -> None:
        if self._tools is None:
            raise self._template.error(
                "the task has tools, and the chat template writes no calls of tools that can be read again",
                "Use a model that was trained to call tools.",
            )
        names = [str(one["function"]["name"]) for one in tools]
        shown = self._template.render([QUESTION], tools=tools)
        if missing := [name for name in names if name not in shown]:
            raise self._template.error(
                f"the chat template does not tell the model of the tools {', '.join(missing)}",
                "Use a model whose template has a place for tools.",
            )

    @cached_property
    def _tools(self) -> ToolFormat | None:
        return find_tool_format(self._template, self.format)

    def _without_special(self, text: str) -> str:
        for token in self._template.special:
            text = text.replace(token, "") if token else text
        return text


def _require_turns(sample: Sample) -> None:
    """Raises: ModelError: replies and answers to them do not take turns."""
    roles = [message["role"] for message in sample.completion]
    fault = not roles or roles[0] != "assistant"
    for last, role in pairwise(roles):
        follows = {"assistant": ("user", "tool"), "user": ("assistant",), "tool": ("assistant", "tool")}
        fault = fault or role not in follows.get(last, ())
    if fault:
        raise ModelError(
            f"the completion of sample {sample.id} must be assistant, user, assistant, ...; it is {roles}"
        )
