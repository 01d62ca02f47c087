"""Events: what jobs emit while they run. Frozen, JSON-safe, versioned by `EVENT_VERSION`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import time as now
from typing import Any, Literal, TypeAlias

EVENT_VERSION = 2

Phase: TypeAlias = str
"""What kind of work a row comes from, such as sft, rl or eval: the `phase` of a `JobKind`, of at most eight characters."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """The common part of all events."""

    run_id: str
    """The run."""
    time: float = field(default_factory=now)
    """Seconds since the epoch."""

    def __post_init__(self) -> None:
        # What every record of an event begins with, so that `__dict__` is that record and need not be copied into one.
        named = self.__dict__.copy()
        self.__dict__.clear()
        self.__dict__.update(event=type(self).__name__, v=EVENT_VERSION, **named)


@dataclass(frozen=True, kw_only=True)
class RunStarted(Event):
    """A job begins."""

    job_type: Phase
    """The kind of job, by its name."""
    task: str
    """The task's name."""
    config: Mapping[str, Any]
    """The resolved configuration; it holds names of secret variables, never values."""
    output_dir: str
    """The run's folder."""
    total_steps: int | None = None
    """Optimizer steps of training, rollouts of evaluation; None while not known."""
    attempt_uid: str = ""
    """32 hexadecimal digits; the same on all ranks of one attempt."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What `tenyson.telemetry.events.provenance.gather` finds out: columns of `attempts` and `runs`."""
    inputs: Sequence[Mapping[str, str | None]] = ()
    """What it is made from: kind, reference, source_run_id; rows of `lineage`."""


@dataclass(frozen=True, kw_only=True)
class AttemptBegan(Event):
    """Training or evaluation begins; from here on this attempt's rows supersede those of earlier ones."""

    step: int
    """Optimizer steps already done: 0, or the step of the checkpoint that it resumes from."""
    checkpoint: str | None = None
    """The checkpoint."""


@dataclass(frozen=True, kw_only=True)
class MetricsLogged(Event):
    """Numbers of one step."""

    phase: Phase
    """The phase of the kind of job, such as rl."""
    step: int
    """Optimizer steps done; in an evaluation rollouts."""
    total_steps: int | None = None
    """Of the whole run; None while not known."""
    epoch: float | None = None
    """Passes over the data so far."""
    values: Mapping[str, float]
    """Such as loss, eval_loss, learning_rate, reward, kl, tokens_per_second."""

    def __init__(
        self,
        *,
        run_id: str,
        phase: Phase,
        step: int,
        values: Mapping[str, float],
        total_steps: int | None = None,
        epoch: float | None = None,
        time: float | None = None,
    ) -> None:
        # What a frozen dataclass makes of itself is a call a field; this is made at every step.
        self.__dict__.update(
            event="MetricsLogged",
            v=EVENT_VERSION,
            run_id=run_id,
            time=now() if time is None else time,
            phase=phase,
            step=step,
            total_steps=total_steps,
            epoch=epoch,
            values=values,
        )


@dataclass(frozen=True, kw_only=True)
class EpochEnded(Event):
    """Means over one epoch of GRPO."""

    phase: Phase
    """rl."""
    epoch: int
    """1 for the first."""
    step: int
    """Optimizer steps done."""
    loss: float | None
    """Mean loss; None where none was logged."""
    kl: float | None
    """Mean KL divergence (nats) from the reference; None without one."""


@dataclass(frozen=True, kw_only=True)
class RolloutFinished(Event):
    """One conversation, in RL or in evaluation."""

    phase: Phase
    """rl or eval."""
    training: bool
    """Whether it was trained on; False for evaluation, also for evaluation inside RL."""
    step: int
    """Optimizer step of the policy that wrote it; 0 in an EvalJob."""
    sample_id: str
    """`Sample.id`."""
    group: str
    """Rollouts of one prompt at one step share a group."""
    prompt: str
    """The rendered prompt, as the model saw it."""
    completion: str
    """All that follows, as the model saw it."""
    reward: float | None
    """Weighted sum of the components; None where no component says anything."""
    components: Mapping[str, float | None]
    """Each reward's unweighted value."""
    advantage: float | None = None
    """As GRPO used it; None outside training."""
    finish_reason: str = "stop"
    """stop, length, turns or error."""
    trained: bool = False
    """Whether it carried a gradient."""
    dropped: str | None = None
    """Why it carried none, although it was made for training."""
    tokens: int = 0
    """Written by the model, all turns together."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """The environment's info."""
    errors: Sequence[Mapping[str, Any]] = ()
    """What broke it, in order: source, kind, message, traceback, and whether it was tried again after that (`retried`)."""
    verdicts: Sequence[Mapping[str, Any]] = ()
    """What judges said of it: the fields of `tenyson.tasks.verdict.Verdict`."""
    tool_calls: Sequence[Mapping[str, Any]] | None = None
    """The calls of tools, in order: the fields of `tenyson.tasks.rollout.CalledTool`; None where the task has no tools."""

    def __init__(
        self,
        *,
        run_id: str,
        phase: Phase,
        training: bool,
        step: int,
        sample_id: str,
        group: str,
        prompt: str,
        completion: str,
        reward: float | None,
        components: Mapping[str, float | None],
        advantage: float | None = None,
        finish_reason: str = "stop",
        trained: bool = False,
        dropped: str | None = None,
        tokens: int = 0,
        info: Mapping[str, Any] | None = None,
        errors: Sequence[Mapping[str, Any]] = (),
        verdicts: Sequence[Mapping[str, Any]] = (),
        tool_calls: Sequence[Mapping[str, Any]] | None = None,
        time: float | None = None,
    ) -> None:
        # As above: these come by the hundred.
        self.__dict__.update(
            event="RolloutFinished",
            v=EVENT_VERSION,
            run_id=run_id,
            time=now() if time is None else time,
            phase=phase,
            training=training,
            step=step,
            sample_id=sample_id,
            group=group,
            prompt=prompt,
            completion=completion,
            reward=reward,
            components=components,
            advantage=advantage,
            finish_reason=finish_reason,
            trained=trained,
            dropped=dropped,
            tokens=tokens,
            info={} if info is None else info,
        )
        if errors:
            self.__dict__["errors"] = errors
        if verdicts:
            self.__dict__["verdicts"] = verdicts
        if tool_calls is not None:
            self.__dict__["tool_calls"] = tool_calls


@dataclass(frozen=True, kw_only=True)
class Notice(Event):
    """One line for a person."""

    level: Literal["info", "warning", "error"]
    """How serious it is."""
    message: str
    """One line for a person."""


@dataclass(frozen=True, kw_only=True)
class EventsLost(Event):
    """A sink failed, or was full: how much it has not recorded so far."""

    sink: str
    """Name of the sink."""
    reason: str
    """Why, in words."""
    events: int
    """How many."""
    rank: int = 0
    """Of the process that lost them."""


@dataclass(frozen=True, kw_only=True)
class RunFinished(Event):
    """A job ended."""

    status: str
    """success, stopped or failed."""
    reason: str = "completed"
    """completed, what stopped it, or why it failed."""
    result: Mapping[str, Any]
    """The JobResult's fields."""
