"""What preflight found, written beside the results, and decoded samples with what is learnt marked."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tenyson.errors import TaskError
from tenyson.jobs.runtime.finding import Finding, PreflightError, let_pass
from tenyson.tasks.usercode import iterate, shown, task_name
from tenyson.telemetry.events import strict_json

if TYPE_CHECKING:
    from tenyson.engines.renderers import Renderer
    from tenyson.jobs.data.conversations import Conversations
    from tenyson.jobs.job import JobContext
    from tenyson.tasks.plugin import TaskPlugin


Segments = list[tuple[str, bool]]
"""Text in pieces, each with whether it is learnt."""


def settle(
    context: JobContext, findings: Iterable[Finding], samples: Sequence[Segments] = ()
) -> list[dict[str, Any]]:
    """Write the findings down, say the warnings, and stop at errors that `run.allow` does not name.

    Returns the warnings, for the results.

    Raises:
        PreflightError: there are errors.
    """
    found = let_pass([*findings, *check_task(context.task)], context.config.run.allow)
    if context.world.leads:
        strict_json.write(
            context.folder.preflight,
            context.telemetry.clean({"findings": [asdict(one) for one in found], "samples": list(samples)}),
        )
    if any(one.severity == "error" for one in found):
        raise PreflightError(found)
    warnings = [one for one in found if one.severity == "warning"]
    for one in warnings:
        context.say(f"{one.check}: {one.cause}. {one.next_step}".rstrip(), "warning")
    return [asdict(one) for one in warnings]


def check_task(task: TaskPlugin) -> Iterator[Finding]:
    """What a task has to say of the samples that were read. Raises: TaskError: its hook raises, or yields something else."""
    hook = f"findings() of the task {task_name(task)}"
    for found in iterate(hook, task.findings):
        if not isinstance(found, Finding):
            raise TaskError(f"{hook} holds {shown(found)}, which is no Finding")
        yield found


def add(context: JobContext, finding: Finding, warnings: list[dict[str, Any]]) -> None:
    """Add what was found once the model was loaded; to the warnings too, where it is one."""
    if context.world.leads:
        path = context.folder.preflight
        found = json.loads(path.read_text(encoding="utf-8"))
        found["findings"].append(asdict(finding))
        strict_json.write(path, found)
    if finding.severity == "warning":
        warnings.append(asdict(finding))
        context.say(f"{finding.check}: {finding.cause}. {finding.next_step}", "warning")


def segments(rows: Conversations, renderer: Renderer, number: int = 2) -> list[Segments]:
    """The first rows, decoded piece by piece."""
    return [
        pieces_of(ids, [int(label != -100) for label in labels], renderer)
        for ids, labels in zip(rows.ids[:number], rows.labels, strict=False)
    ]


def pieces_of(ids: Sequence[int], mask: Sequence[int], renderer: Renderer) -> Segments:
    """A row of T ids with T ones and zeros, decoded piece by piece with whether each is learnt."""
    pieces: list[tuple[list[int], bool]] = []
    for token, learnt in zip(ids, map(bool, mask), strict=True):
        if not pieces or pieces[-1][1] != learnt:
            pieces.append(([], learnt))
        pieces[-1][0].append(token)
    return [(renderer.raw(piece), learnt) for piece, learnt in pieces]
