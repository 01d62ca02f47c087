"""A preference sample: one prompt of a task with two answers, of which one is better."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tenyson.tasks.sample import Message, Sample


@dataclass(frozen=True)
class PreferenceSample(Sample):
    """One prompt with a chosen and a rejected answer, as `preference_samples` yields it. `completion` is not read.

    Each answer begins with an assistant message. Between its turns it may hold user messages, which carry no loss.
    """

    chosen: Sequence[Message] = ()
    """The better answer."""
    rejected: Sequence[Message] = ()
    """The worse answer."""
