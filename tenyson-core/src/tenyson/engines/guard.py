"""A plugin's engine, guarded: what it raises names it, and what it returns is checked before anybody takes it for text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from tenyson.engines.engine import Engine, EngineSpec, Reply, Sampling
from tenyson.errors import BrokenPluginError, TenysonError
from tenyson.plugins.failure import one_line


class GuardedEngine:
    """An engine of somebody else's.

    Raises: BrokenPluginError: it cannot be built, raises, or returns something else than replies.
    """

    def __init__(self, name: str, owner: str, make: Callable[[EngineSpec], Engine], spec: EngineSpec) -> None:
        self.name = name
        self._what = f"the engine {name!r}{owner}"
        with self._named("cannot start"):
            self._engine = make(spec)

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Reply]:
        """One reply for each prompt, in order."""
        with self._named("raises"):
            found = self._engine.generate(prompts, sampling)
        if not isinstance(found, Sequence) or len(found) != len(prompts):
            count = f"{len(found)} replies" if isinstance(found, Sequence) else f"a {type(found).__name__}"
            raise BrokenPluginError(f"{self._what} returned {count} for {len(prompts)} prompts")
        for reply in found:
            if fault := _fault(reply):
                raise BrokenPluginError(f"{self._what} returned {fault}")
        return list(found)

    def close(self) -> None:
        """Free the model's memory."""
        with self._named("raises while it closes"):
            self._engine.close()

    @contextmanager
    def _named(self, what: str) -> Iterator[None]:
        try:
            yield
        except TenysonError:
            raise
        except (Exception, SystemExit) as error:
            raise BrokenPluginError(f"{self._what} {what}: {one_line(error)}") from error


def _fault(reply: Any) -> str | None:
    if not isinstance(reply, Reply):
        return f"a {type(reply).__name__}, which is no Reply"
    if not isinstance(reply.ids, list) or not all(type(token) is int and token >= 0 for token in reply.ids):
        return "a reply whose ids are no list of token ids"
    if reply.finish_reason not in ("stop", "length"):
        return f"a reply whose finish_reason is {reply.finish_reason!r}, neither stop nor length"
    if reply.logprobs is not None and len(reply.logprobs) != len(reply.ids):
        return f"{len(reply.logprobs)} logprobs for {len(reply.ids)} ids"
    return None
