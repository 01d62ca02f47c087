"""When to send the next request: the pace that was asked for, the pauses that the endpoint asks for, and back-off.

All times are seconds of `time.monotonic`.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import re
import time
from collections.abc import Mapping

FIRST_SECONDS, LONGEST_SECONDS = 0.5, 30.0
"""Of the pauses between attempts, which double."""
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class Gate:
    """Lets the requests of one client pass, one after the other, when they may be sent. Used on one event loop."""

    def __init__(self, requests_per_minute: float | None = None) -> None:
        self._apart = 60.0 / requests_per_minute if requests_per_minute else 0.0
        self._next = 0.0
        self._held_until = 0.0

    def hold(self, seconds: float) -> None:
        """Send nothing for so long."""
        self._held_until = max(self._held_until, time.monotonic() + seconds)

    async def passed(self) -> None:
        """Wait until a request may be sent."""
        while (wait := max(self._held_until, self._next) - time.monotonic()) > 0:
            await asyncio.sleep(wait)
        self._next = max(self._next, time.monotonic()) + self._apart


def pause(attempt: int, dice: random.Random) -> float:
    """Seconds before the next attempt; `attempt` counts from 0. Clients that failed together do not return together."""
    doubled: float = min(FIRST_SECONDS * 2.0 ** min(attempt, 30), LONGEST_SECONDS)
    return doubled * dice.uniform(0.75, 1.25)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a response asks to wait, by Retry-After or by its rate limits; None where it does not say."""
    if (exact := _number(headers.get("retry-after-ms"))) is not None:
        return exact / 1000
    given = headers.get("retry-after")
    if given and (seconds := _number(given)) is not None:
        return seconds
    if given and (date := email.utils.parsedate_tz(given)) is not None:
        return max(0.0, email.utils.mktime_tz(date) - time.time())
    return exhausted(headers)


def exhausted(headers: Mapping[str, str]) -> float | None:
    """Seconds until a limit that is used up is renewed, by x-ratelimit-*; None where nothing is used up."""
    waits = []
    for kind in ("requests", "tokens"):
        left = _number(headers.get(f"x-ratelimit-remaining-{kind}"))
        reset = _duration(headers.get(f"x-ratelimit-reset-{kind}"))
        if left == 0 and reset is not None:
            waits.append(reset)
    return max(waits, default=None)


def _number(text: str | None) -> float | None:
    return float(text) if text and re.fullmatch(r"\s*\d{1,12}(\.\d+)?\s*", text) else None


def _duration(text: str | None) -> float | None:
    """Such as "1s", "6m0s", "20ms" or "3"."""
    if (plain := _number(text)) is not None:
        return plain
    if not text or not re.fullmatch(r"(\d{1,9}(\.\d+)?(ms|s|m|h|d))+", text):
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in re.findall(r"([\d.]+)(ms|s|m|h|d)", text))
