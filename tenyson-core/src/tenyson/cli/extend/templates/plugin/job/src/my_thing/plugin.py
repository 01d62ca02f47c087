"""What this distribution registers. Listings import it, so it imports nothing heavy."""

from collections.abc import Iterable

from tenyson.plugins import JobKind, hookimpl


@hookimpl
def tenyson_jobs() -> Iterable[JobKind]:
    """The kind of job my-thing. Tenyson's docs/how-to/job-kind.md has one that trains."""
    return [
        JobKind(
            name="my-thing",
            summary="The mean loss on a task's completions",
            load="my_thing.job:MyThingJob",
            # At most 8 characters: it marks this kind's rows in the telemetry database.
            phase="surprise",
            trains=False,
            samples="sft_samples",
            unread=("training", "trl", "peft", "generation", "evaluation", "engine_args"),
            verbs=(),
            memory="tenyson.jobs.models.memory:eval_memory",
        )
    ]
