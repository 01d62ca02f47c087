"""Names: of pipelines and of their runs. In one journal each means one thing, although both are made of the same letters:
PIPELINE-LABEL of one pipeline could be the whole name of another, or the run of a longer pipeline with a shorter label.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from tenyson.errors import ConfigError, PipelineError
from tenyson.pipeline.graph.definition import Definition
from tenyson.pipeline.journal.records import IN_FLIGHT

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal


def require_free(journal: Journal, pipeline_id: str, definitions: Iterable[Definition], another: str) -> None:
    """Check the names of a pipeline that is about to be written down; `another` is how another name is given.

    A run id that was given, and not made of pipeline and label, may be used again once no step runs under it.

    Raises:
        ConfigError: two of its steps have one run id.
        PipelineError: a name is another pipeline's, or that of a run of another pipeline.
    """
    run_ids: dict[str, str] = {}
    for one in definitions:
        if one.spec.run_id in run_ids:
            raise ConfigError(
                f"the steps {run_ids[one.spec.run_id]} and {one.label} have one run id: {one.spec.run_id}",
                next_step="Give each its own run.id, or none.",
            )
        run_ids[one.spec.run_id] = one.label
    if list(run_ids) == [pipeline_id]:
        # A single job: its pipeline has no name of its own.
        made = set()
    else:
        made = {pipeline_id, *(name for name, label in run_ids.items() if name == f"{pipeline_id}-{label}")}
    for name, other, label, state in journal.users_of({pipeline_id, *run_ids}):
        if other == pipeline_id or (name not in made and state not in IN_FLIGHT):
            continue
        what = f"the run of step {label} of the pipeline {other}" if label else "another pipeline"
        runs = ", which is at work on it" if state in IN_FLIGHT else ""
        raise PipelineError(
            f"the name {name} is taken: it is {what}{runs}", next_step=f"Choose another {another}."
        )
