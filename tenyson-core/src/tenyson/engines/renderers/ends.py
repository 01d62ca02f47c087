"""How replies end, and what stands between one and the next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from tenyson.engines.renderers.reply_format import QUESTION, REPLY, probe
from tenyson.engines.renderers.template import ChatTemplate
from tenyson.errors import ModelError
from tenyson.tasks.sample import Message


class Ends:
    """The ends of replies in a template.

    Args:
        generation_eos: ids that the checkpoint's generation config ends on.
        tools: whether the template writes calls.

    Raises:
        ModelError: a reply ends on no special token, and no special token begins what follows it.
    """

    def __init__(self, template: ChatTemplate, generation_eos: Sequence[int], *, tools: bool) -> None:
        self._template = template
        tokenizer = template.tokenizer
        ends = {token for token in generation_eos if self._may_end(token)}
        self.unused: tuple[int, ...] = tuple(sorted(set(generation_eos) - ends))
        """Ids among `generation_eos` that occur in ordinary text."""
        self.turn = self._find_turn_end(ends)
        """Text of the token that ends a reply."""
        self.call = self._find_call_end() if tools else self.turn
        """Text of the token that ends a reply which calls a tool."""
        ids = {*tokenizer.convert_tokens_to_ids([self.turn, self.call]), *ends}
        if tokenizer.eos_token_id is not None:
            ids.add(tokenizer.eos_token_id)
        self.stops: tuple[int, ...] = tuple(sorted(ids))
        """Ids on which a reply may end."""

    def after_turn(self, content: str) -> str:
        """From the end of a reply on, that end included, to the opening of the next one, over a user's message.

        Raises:
            ModelError: the template ends a reply otherwise there than at the end of a conversation.
        """
        if self._fault is not None:
            raise self._template.error(
                self._fault,
                "Use tasks of one turn, train on the last reply alone (training.reasoning: last), or use a model whose template "
                "ends every reply in one way.",
            )
        return self._after_reply(content)

    def after_call(self, message: Message, answers: Sequence[Message]) -> str:
        """From the end of a reply with calls on, that end included, to the opening of the next one, over the results in `answers`.

        Raises:
            ModelError: the template writes the calls otherwise once results follow.
        """
        calls = [*message.get("tool_calls", ())]
        if not calls:
            raise self._template.error("a tool's result follows a reply that calls no tool")
        function: Mapping[str, Any] = calls[-1].get("function", calls[-1])
        marked: Any = {**calls[-1], "function": {"name": function["name"], "arguments": {"city": REPLY}}}
        shown: Message = {"role": "assistant", "content": "", "tool_calls": [*calls[:-1], marked]}
        before = self._template.render([QUESTION, shown], opening=False).rpartition(REPLY)[2]
        after = self._template.render([QUESTION, shown, *answers]).rpartition(REPLY)[2]
        end = before.rfind(self.call)
        done = before[:end] if end >= 0 else before
        if not after.startswith(done + self.call):
            raise self._template.error(
                "the chat template writes a call otherwise once its result follows, so what a model wrote cannot be continued",
                "Use a model whose template writes calls in one way.",
            )
        return after[len(done) :]

    def after_no_call(self, answers: Sequence[Message]) -> str:
        """From the end of a reply without readable calls on, that end included, to the opening of the next one.

        The answers tell the model of a call that cannot be read; where the template takes a tool's message only after a call,
        they are written as a user's.

        Raises:
            ModelError: the template ends a reply otherwise there than at the end of a conversation.
        """
        try:
            bridge = self._template.render([QUESTION, probe(), *answers]).rpartition(REPLY)[2]
            said = all(one["content"] in bridge for one in answers)
        except ModelError:
            said = False
        if said and bridge.startswith(self.turn):
            return bridge
        return self.after_turn("\n\n".join(one["content"] for one in answers))

    @cached_property
    def _fault(self) -> str | None:
        """Why replies cannot be followed by another turn; None if they can."""
        try:
            bridge = self._after_reply("?")
        except ModelError:
            return None  # `after_turn` says so, where it is needed
        if bridge.startswith(self.turn):
            return None
        end = self._template.leading(bridge) or bridge[:20]
        return (
            f"the chat template ends a reply with {end!r} within a conversation and with {self.turn!r} at its end, so what a model "
            "wrote cannot be continued as it stands"
        )

    def _after_reply(self, content: str) -> str:
        user: Message = {"role": "user", "content": content}
        return self._template.render([QUESTION, probe(), user]).rpartition(REPLY)[2]

    def _find_turn_end(self, ends: set[int]) -> str:
        template = self._template
        rest = template.render([QUESTION, probe()], opening=False).rpartition(REPLY)[2]
        named = set(template.tokenizer.convert_ids_to_tokens(sorted(ends)))
        if found := template.leading(rest, template.special | named):
            return found
        # GLM: nothing ends a reply but the marker of the message that follows.
        if not rest and (found := template.leading(self._after_reply("?"), template.special | named)):
            return found
        if ordinary := template.leading(rest, set(template.tokenizer.get_added_vocab())):
            raise template.error(
                f"the chat template ends a reply with {ordinary!r}, an added token that is not a special one: it "
                "occurs in ordinary text, and every reply would end there",
                "Use a model whose template closes a reply with a special token, or mark the token as special in the tokenizer.",
            )
        raise template.error(
            f"the chat template ends a reply with {rest!r}, not with a special token, so no reply could ever stop",
        )

    def _find_call_end(self) -> str:
        """A call may end on a token of its own (GPT-OSS), or on the marker of its result (GLM, Gemma 4)."""
        call = probe(calls=True)
        rest = self._template.render([QUESTION, call], opening=False).rpartition(REPLY)[2]
        if found := self._template.trailing(rest):
            return found
        result: Message = {"role": "tool", "content": "?"}
        try:
            after = self._template.render([QUESTION, call, result]).rpartition(REPLY)[2]
        except ModelError:
            return self.turn
        return self._template.leading(after.removeprefix(rest)) or self.turn

    def _may_end(self, token: int) -> bool:
        """Whether an EOS token of the generation config may end a reply: a special token, or an added one with a text of its
        own. A blank line or a word may not."""
        tokenizer = self._template.tokenizer
        text = tokenizer.convert_ids_to_tokens(token)
        return text in self._template.special or (text in tokenizer.get_added_vocab() and bool(text.strip()))
