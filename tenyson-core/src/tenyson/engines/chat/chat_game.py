"""A rollout under way with a chat engine: the steps are those of token engines, and its replies may fail to come."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any, cast

from tenyson.engines.chat.chat_engine import ChatReply
from tenyson.engines.chat.chat_renderer import Piece
from tenyson.engines.renderers.parsed import Parsed
from tenyson.engines.rollouts.rollout import Game, Trajectory
from tenyson.engines.rollouts.side_by_side import Call, Ended
from tenyson.engines.rollouts.toolbox import Toolbox
from tenyson.errors import EndpointError
from tenyson.tasks.environment import Environment, Observation
from tenyson.tasks.rollout import RolloutError
from tenyson.tasks.sample import Message

FULL = ChatReply(Parsed(""), "length")
"""In place of a reply: the conversation is longer than the model can read."""


class ChatGame(Game):
    """As `Game`, with a ChatRenderer: what it `asks` are pieces of a conversation. Its replies come through `settle`."""

    @property
    def pieces(self) -> list[Piece]:
        """The conversation that a reply is to follow."""
        return cast(list[Piece], self.asks)

    def settle(self, ended: Sequence[Ended]) -> None:
        """Continue with a reply, or with what its work came to.

        Raises: EndpointError: every further request would fail as this one did.
        """
        if not self.waits:
            super().settle(ended)
            return
        [one] = ended
        error = one.fault.error if one.fault else None
        if one.fault is None:
            self.take(one.value)
        elif not isinstance(error, EndpointError):
            raise error or TimeoutError
        elif error.lasting:
            raise error
        elif error.kind == "context" and self.turns:
            self.take(cast(Any, FULL))
        else:
            self._lose(error)

    def trajectory(self) -> Trajectory:
        """The rollout that is over, with tokens as the endpoint has counted them."""
        found = super().trajectory()
        replies = [one for one in cast(list[Piece], self.ids) if isinstance(one, ChatReply)]
        prompt, written = (
            sum(getattr(one, name) for one in replies) for name in ("prompt_tokens", "completion_tokens")
        )
        counted: dict[str, Any] = {"prompt_tokens": prompt}
        costs = [one.cost_usd for one in replies if one.cost_usd is not None]
        if costs:
            counted["cost_usd"] = sum(costs)
        if filtered := sum(one.filtered for one in replies):
            counted["filtered"] = filtered
        info = {**found.rollout.info, "endpoint": counted}
        return replace(found, rollout=replace(found.rollout, tokens=written, info=info))

    def _lose(self, error: EndpointError) -> None:
        """End without a reply: the client has tried long enough."""
        where = f" on sample {self.sample.id}, turn {self.turns + 1}"
        self._error = RolloutError(
            "endpoint", f"EndpointError ({error.kind})", f"{error.place}{where}: {error.cause}"
        )
        self.waits = False
        self._close()

    def _read(self, reply: Any, toolbox: Toolbox | None) -> tuple[Message, list[Call]]:
        if reply is FULL:
            return reply.said.message, []
        return super()._read(reply, toolbox)

    def _stepped(self, environment: Environment, message: Message) -> Generator[Any, Any, Observation]:
        if cast(Any, self._replay.reply(self.turns)) is FULL:
            return Observation(done=True)
        return (yield from super()._stepped(environment, message))
