"""Replies as a template writes them, from where generation begins: what SFT trains."""

from __future__ import annotations

from collections.abc import Sequence

from tenyson.engines.renderers.ends import Ends
from tenyson.engines.renderers.reply_format import ReplyFormat
from tenyson.engines.renderers.template import ChatTemplate, reasoning_of
from tenyson.errors import ModelError
from tenyson.tasks.sample import Message


class Replies:
    """Writes the replies of a conversation."""

    def __init__(self, template: ChatTemplate, reply_format: ReplyFormat, ends: Ends) -> None:
        self._template, self._format, self._ends = template, reply_format, ends

    def ids(
        self, before: Sequence[Message], message: Message, sample: str, *, drop: bool = False
    ) -> list[int]:
        """Ids of a reply after the messages in `before`, from the end of its opening to its stop token.

        Args:
            sample: id of the sample, for errors.
            drop: leave its reasoning out.

        Raises:
            ModelError: what the template writes for it does not follow the opening.
        """
        end = self._ends.call if message.get("tool_calls") else self._ends.turn
        written = self._written([self._format.message(one) for one in before], message, sample, drop)
        text = written.rpartition(end)[0] if end in written else written
        return [*self._template.ids(text), int(self._template.tokenizer.convert_tokens_to_ids(end))]

    def _written(self, before: Sequence[Message], message: Message, sample: str, drop: bool) -> str:
        said = self._format.message(message)
        thought = reasoning_of(said)
        bare: Message = {"role": "assistant", "content": said["content"]}
        if calls := said.get("tool_calls"):
            bare["tool_calls"] = calls
        opening = self._template.render(before)
        if thought and not drop:
            return self._with_thought(before, bare, thought, opening, sample)
        whole = self._template.render([*before, bare], opening=False)
        if whole.startswith(opening):
            return whole[len(opening) :]
        rest = self._from_header(whole, opening, sample)
        if self._format.before is None:
            return rest  # the opening holds the empty thought that the template does not repeat
        if not drop:
            raise self._error(
                sample,
                f"the opening of a reply, {opening[-30:]!r}, begins a thought, and the reply has no reasoning, so what is trained "
                "would not follow what generation begins with",
                f"Give the message its reasoning, or set training.reasoning: drop, which ends the thought at once{self._or('false')}.",
            )
        closer = self._format.closer.strip()
        return rest if rest.lstrip().startswith(closer) else self._format.between + rest

    def _with_thought(
        self, before: Sequence[Message], bare: Message, thought: str, opening: str, sample: str
    ) -> str:
        form = self._format
        if form.closed:
            raise self._error(
                sample,
                f"the reply has reasoning, and its opening, {opening[-30:]!r}, holds a closed, empty thought, so the model would never "
                "write that reasoning",
                f"Set training.reasoning: drop{self._or('true')}.",
            )
        if form.before is None:
            raise self._error(
                sample,
                "the reply has reasoning, and the chat template has no place for it",
                "Write it into the content where the model shall write it there, or set training.reasoning: drop.",
            )
        whole = self._template.render([*before, {**bare, "reasoning": thought}], opening=False)
        if whole.startswith(opening) and thought.strip() in whole[len(opening) :]:
            return whole[len(opening) :]
        # A template that drops reasoning even from the last reply (DeepSeek) says where it goes by its opening.
        plain = self._template.render([*before, bare], opening=False)
        rest = self._from_header(plain, opening, sample)
        return form.before + thought.strip() + form.between + rest.removeprefix(form.plain or "")

    def _from_header(self, whole: str, opening: str, sample: str) -> str:
        """A reply from where the template begins it, which may be earlier than where the opening ends."""
        start = len(opening) - self._format.excess
        if whole[:start] != opening[:start]:
            raise self._error(
                sample,
                f"the chat template begins a reply with {opening[-30:]!r} where it is generated and otherwise in a finished "
                "conversation, so what is trained would not follow what generation begins with",
                "Use a model whose template writes a reply in one way.",
            )
        return whole[start:]

    def _or(self, value: str) -> str:
        if "enable_thinking" not in self._template.source:
            return ""
        return f", or model.chat_template_kwargs: {{enable_thinking: {value}}}"

    def _error(self, sample: str, cause: str, next_step: str) -> ModelError:
        return self._template.error(f"sample {sample}: {cause}", next_step)
