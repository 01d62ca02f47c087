"""Losses: the model's loss on each row. Imported only where the job runs, so torch may be used here."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch


def losses(model: Any, ids: Sequence[list[int]], labels: Sequence[list[int]]) -> Iterator[float]:
    """The mean loss (nats a token) of each row. `labels`: the id where it is learnt, else -100."""
    with torch.inference_mode():
        for row, wanted in zip(ids, labels, strict=True):
            yield float(model(torch.tensor([row]), labels=torch.tensor([wanted])).loss)
