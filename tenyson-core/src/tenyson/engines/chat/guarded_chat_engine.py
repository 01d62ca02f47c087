"""A plugin's chat engine, guarded: what it raises names it, and what it answers is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

from tenyson.engines.chat.chat_engine import ChatEngine, ChatReply
from tenyson.engines.engine import EngineSpec, Sampling
from tenyson.errors import BrokenPluginError, TenysonError
from tenyson.plugins.failure import one_line
from tenyson.tasks.sample import Message


class GuardedChatEngine:
    """A chat engine of somebody else's.

    Raises: BrokenPluginError: it cannot be built, raises, or answers with something else than a ChatReply.
    """

    def __init__(
        self, name: str, owner: str, make: Callable[[EngineSpec], ChatEngine], spec: EngineSpec
    ) -> None:
        self.name = name
        self._what = f"the engine {name!r}{owner}"
        self._engine = self._call("cannot start", lambda: make(spec))
        self.concurrency: int = self._call("has no concurrency", lambda: int(self._engine.concurrency))

    def reply(
        self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]], sampling: Sampling
    ) -> Future[ChatReply]:
        """Ask for the next message."""
        asked = self._call("raises", lambda: self._engine.reply(messages, tools, sampling))
        if not isinstance(asked, Future):
            raise BrokenPluginError(
                f"{self._what} returned a {type(asked).__name__} for a reply, which is no Future"
            )
        checked: Future[ChatReply] = Future()
        checked.add_done_callback(lambda one: asked.cancel() if one.cancelled() else None)
        asked.add_done_callback(lambda one: self._check(one, checked))
        return checked

    def report(self) -> dict[str, Any]:
        """What it has been asked so far."""
        return dict(self._call("raises", self._engine.report))

    def close(self) -> None:
        """Give up what is under way."""
        self._call("raises while it closes", self._engine.close)

    def _check(self, asked: Future[Any], checked: Future[ChatReply]) -> None:
        if asked.cancelled() or not checked.set_running_or_notify_cancel():
            checked.cancel()
            return
        try:
            found = self._call("raises", asked.result)
            if not isinstance(found, ChatReply):
                raise BrokenPluginError(
                    f"{self._what} answered with a {type(found).__name__}, which is no ChatReply"
                )
        except TenysonError as error:
            checked.set_exception(error)
        else:
            checked.set_result(found)

    def _call(self, what: str, function: Callable[[], Any]) -> Any:
        try:
            return function()
        except TenysonError:
            raise
        except (Exception, SystemExit) as error:
            raise BrokenPluginError(f"{self._what} {what}: {one_line(error)}") from error
