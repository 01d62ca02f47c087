"""A rollout that ends in a given reply, for tests of rewards."""

from __future__ import annotations

from typing import Any

from tenyson.tasks import Rollout, Sample


def replied(
    text: str, answer: Any = None, *, reasoning: str | None = None, tokens: int = 0, **data: Any
) -> Rollout:
    """One turn on the sample `train/7`, whose data has `answer` and whatever else is named."""
    message: Any = {"role": "assistant", "content": text}
    if reasoning is not None:
        message["reasoning"] = reasoning
    sample = Sample("train/7", [{"role": "user", "content": "?"}], data={"answer": answer, **data})
    return Rollout(sample, (message,), tokens=tokens)
