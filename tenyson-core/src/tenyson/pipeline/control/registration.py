"""Registration: a pipeline's steps are written into the journal, or compared with those that it has under that name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tenyson.core.stdio import say
from tenyson.errors import PipelineError
from tenyson.pipeline.cache.spec_diff import beyond, changes, refusal, sources_of, that_matter
from tenyson.pipeline.graph.definition import Definition, check_order
from tenyson.pipeline.journal.fingerprint import fingerprint
from tenyson.pipeline.journal.lease import take_lease
from tenyson.pipeline.journal.names import require_free
from tenyson.pipeline.journal.origin import Origin
from tenyson.pipeline.journal.records import IN_FLIGHT
from tenyson.pipeline.journal.rows import definition_of
from tenyson.pipeline.request import PipelineRequest

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import PipelineRecord


@dataclass(frozen=True)
class Submission:
    """A pipeline as somebody asks for it."""

    id: str
    title: str
    definitions: Sequence[Definition]
    request: PipelineRequest
    name_option: str = "--run-id"
    """How another name is given, for errors."""

    def __post_init__(self) -> None:
        check_order(self.definitions)

    @property
    def fingerprint(self) -> str:
        """Of its steps."""
        return fingerprint(self.definitions, self.id)

    @property
    def by_label(self) -> dict[str, Definition]:
        """Its steps."""
        return {one.label: one for one in self.definitions}


def create(
    journal: Journal, asked: Submission, unless: Callable[[PipelineRecord], bool] = lambda _: False
) -> str | None:
    """Write a new pipeline into the journal; returns its name, or that of the one that `unless` takes instead.

    None: the same name was registered at the same moment.

    Raises: PipelineError: a name is another pipeline's, or that of a run of another pipeline.
    """
    require_free(journal, asked.id, asked.definitions, asked.name_option)
    request = replace(asked.request, sources=sources_of(asked.definitions))
    plan = {**Origin.here(journal).to_json(), **request.to_json()}
    steps = {one.label: one.to_json() for one in asked.definitions}
    try:
        return journal.create(asked.id, asked.title, asked.fingerprint, plan, steps, unless=unless)
    except PipelineError:
        if journal.pipeline(asked.id) is None:
            raise
        return None


def update(
    journal: Journal,
    asked: Submission,
    *,
    change: bool = False,
    overridden: Collection[str] = (),
    again: Collection[str] = (),
) -> None:
    """Compare the steps with those of the journal; with `change`, those that are still to run get the settings of now.

    Args:
        overridden: keys that are set for all steps alike; with `change`, steps that are done keep what they had.
        again: labels of steps that are over and are about to be run again.

    Raises:
        ConfigError: the journal has a pipeline of that name that asks for something else.
        PipelineBusyError: it is to be changed, and a controller drives it.
    """
    changed, told = _changes(journal, asked, change=change, overridden=overridden, again=again)
    if changed:
        lease = take_lease(journal, asked.id)
        try:
            # A controller that has just left may have gone further.
            changed, told = _changes(journal, asked, change=change, overridden=overridden, again=again)
            with journal.entry(asked.id, lease.fence) as entry:
                for label in changed:
                    entry.redefine(label, asked.by_label[label].to_json())
        finally:
            lease.release()
    if told:
        say(told)


def _changes(
    journal: Journal,
    asked: Submission,
    *,
    change: bool,
    overridden: Collection[str],
    again: Collection[str],
) -> tuple[list[str], str]:
    """Steps that get other settings, and what is to be said of those that keep theirs.

    Raises: ConfigError: one that is done, or at work, would have to get others.
    """
    now = asked.by_label
    steps = {step.label: step for step in journal.steps(asked.id)}
    before: Mapping[str, Definition] = {label: definition_of(step) for label, step in steps.items()}
    changed = changes(before, now)
    to_run = [
        label for label, step in steps.items() if label in again or step.state not in {"DONE", *IN_FLIGHT}
    ]
    editable = [label for label in changed if change and label in now and label in to_run]
    fixed = {label: differing for label, differing in changed.items() if label not in editable}
    kept: list[str] = []
    if change and to_run:
        # What is done answers what was asked then: `--set` holds for the steps that are still to run.
        done = [label for label in fixed if label in now and label in steps and steps[label].state == "DONE"]
        fixed = {
            label: differing
            for label, every in fixed.items()
            if (differing := beyond(every, overridden) if label in done else every) or label not in done
        }
        kept = [label for label in done if label not in fixed]
    if fixed := that_matter(fixed, before):
        raise refusal(asked.id, fixed, before, asked.name_option)
    told = (
        f"{', '.join(kept)}: done, with the settings of then; --set holds for {', '.join(to_run)}"
        if kept
        else ""
    )
    return editable, told
