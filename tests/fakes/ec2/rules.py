"""Fault rules: what happens to which calls, how often."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Rule:
    """One rule.

    effect:
        error     answer with `code`, and do nothing
        drop      do it, then close the connection without an answer
        late      do it, and answer only after `seconds`
        delay     wait `seconds`, then do it
        lie       answer as if it were done, and do nothing (TerminateInstances)
        blind     answer as if there were none (DescribeInstances), as EC2's lists do for a while after a launch
        capacity  an override of a fleet that fits `where` cannot be had, for `code`
    """

    action: str
    effect: str
    code: str = ""
    message: str = "as the test wanted"
    seconds: float = 0.0
    times: int = 1_000_000
    skip: int = 0
    where: dict[str, str] = field(default_factory=dict)


class Rules:
    """All rules, and the calls that were seen."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self.calls: list[dict[str, Any]] = []

    def add(self, rule: Rule) -> None:
        """From now on."""
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """No rule any more."""
        with self._lock:
            self._rules.clear()

    def saw(self, action: str, parameters: dict[str, Any]) -> None:
        """Write a call down."""
        with self._lock:
            self.calls.append({"action": action, "time": time.time(), **parameters})

    def take(self, action: str, effects: tuple[str, ...], facts: dict[str, str] | None = None) -> Rule | None:
        """The first rule that fits, used once."""
        with self._lock:
            for rule in self._rules:
                if rule.action != action or rule.effect not in effects or rule.times <= 0:
                    continue
                if any((facts or {}).get(key) != value for key, value in rule.where.items()):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    continue
                rule.times -= 1
                return rule
        return None
