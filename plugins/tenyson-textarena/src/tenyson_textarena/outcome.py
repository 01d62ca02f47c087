"""What a game came to, as rewards and metrics read it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenyson.tasks import Rollout

UNFINISHED: Mapping[str, Any] = {
    "reward": None,
    "opponent_reward": None,
    "reason": "",
    "invalid": False,
    "raised": "",
}
"""Of a game that was broken off."""


def outcome(rollout: Rollout) -> Mapping[str, Any]:
    """The game's outcome. Of self-play it is what the agent returned: nothing, where it was cut off."""
    info = rollout.info
    return {**UNFINISHED, **(info if "reward" in info else info.get("result") or {})}
