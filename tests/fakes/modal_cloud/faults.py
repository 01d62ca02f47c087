"""Faults: what happens to which calls, and how often."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any


@dataclass
class Rule:
    """One rule, for an RPC by its name, "*" for all, or "HTTP" for blocks and blobs.

    effect:
        error  answer with `status` and `message`, and do nothing
        drop   do it, and break the stream without an answer
        delay  wait `seconds`, then do it
        late   do it, and answer only after `seconds`

    forget: the work of this call is not remembered under its idempotency key, so a retry does it once more.
    """

    rpc: str
    effect: str = "error"
    status: str = "UNAVAILABLE"
    message: str = ""
    seconds: float = 0.0
    times: int = 1_000_000
    skip: int = 0
    forget: bool = False


class Faults:
    """All rules, the ice, and the calls that were seen."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._frozen_until = 0.0
        self.seen: list[dict[str, Any]] = []

    def add(self, rule: Rule) -> None:
        """From now on."""
        self._rules.append(rule)

    def clear(self) -> None:
        """No rule and no ice any more."""
        self._rules.clear()
        self._frozen_until = 0.0

    def freeze(self, seconds: float) -> None:
        """Nothing is answered for a while."""
        self._frozen_until = time.monotonic() + seconds

    @property
    def frozen(self) -> bool:
        """Whether nothing is answered now."""
        return time.monotonic() < self._frozen_until

    async def thaw(self) -> None:
        """Comes back once answers go out again."""
        while self.frozen:
            await asyncio.sleep(min(0.05, max(0.0, self._frozen_until - time.monotonic())))

    def saw(self, rpc: str, by: str) -> None:
        """Write a call down."""
        self.seen.append({"rpc": rpc, "by": by, "time": time.time()})

    def take(self, rpc: str) -> Rule | None:
        """The first rule that fits, used once."""
        for rule in self._rules:
            if rule.rpc not in (rpc, "*") or rule.times <= 0:
                continue
            if rule.skip > 0:
                rule.skip -= 1
                continue
            rule.times -= 1
            return rule
        return None
