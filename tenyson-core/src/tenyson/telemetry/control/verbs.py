"""What can be asked of a running job: one entry a verb, from which commands, help, checks and messages are made.

A further verb is an entry here, and what the training loop does about it (`tenyson.jobs.trainers.callbacks.control`, or
`tenyson.jobs.eval` for an evaluation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenyson.telemetry.control.state import Controls


@dataclass(frozen=True)
class ControlVerb:
    """One thing to ask."""

    name: str
    summary: str
    """One line for `tenyson --help`."""
    help: str
    """The help of its command."""
    effect: str
    """What the run does then, after "run NAME", for whoever asks."""
    heard: str
    """What the run's log says; `{argument}` is filled in."""
    argument: str | None = None
    """Name of the number that it needs, at least 1, such as "steps"."""
    take: Callable[[Controls], None] | None = None
    """How the loop learns of it; by default through `Controls.wanted`."""
    refused: Callable[[Controls], str | None] = lambda _: None
    """Why this run cannot follow it now; None where it can."""


TABLE = {
    verb.name: verb
    for verb in (
        ControlVerb(
            "stop",
            summary="Stop a run after it has saved.",
            help="Stop a run after its current step or batch; it saves as usual.",
            effect="ends after its current step or batch, and saves",
            heard="a stop was requested; the job ends after the current step or batch",
            take=lambda controls: controls.stop.by_hand(),
        ),
        ControlVerb(
            "pause",
            summary="Pause a run between two steps.",
            help="Pause a run after its current step or batch, until you resume it.",
            effect="holds after its current step or batch",
            heard="a pause was requested; the job holds after the current step or batch",
            take=lambda controls: controls.hold(True),
        ),
        ControlVerb(
            "resume",
            summary="Resume a paused run.",
            help="Resume a paused run. (To restart a run that has ended, use `tenyson run --resume-from-checkpoint latest`.)",
            effect="continues",
            heard="the job continues",
            take=lambda controls: controls.hold(False),
            refused=lambda controls: None if controls.paused else "the run is not paused",
        ),
        ControlVerb(
            "checkpoint",
            summary="Write a checkpoint of a run now.",
            help="Write a checkpoint of a training run after its current step.",
            effect="writes a checkpoint after its current step",
            heard="a checkpoint was requested; it is written after the current step",
        ),
        ControlVerb(
            "extend",
            summary="Extend a run by more steps.",
            help="Extend a training run by STEPS optimizer steps; the learning-rate schedule follows the new total.",
            effect="trains that many steps more",
            heard="{argument} more steps were requested",
            argument="steps",
        ),
    )
}
"""Every verb by name, in the order of `tenyson --help`."""

VERBS = tuple(TABLE)
