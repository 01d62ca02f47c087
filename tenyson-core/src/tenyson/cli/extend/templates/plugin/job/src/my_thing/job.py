"""The job. The machine that controls it imports this too, so torch is imported within `execute` alone."""

from tenyson.jobs.job import Job, JobContext, Outcome
from tenyson.tasks import Metric
from tenyson.telemetry import MetricsLogged


class MyThingJob(Job):
    """Measures the mean loss on the completions of a task's evaluation split."""

    job_type = "my-thing"

    def execute(self, context: JobContext) -> Outcome:
        """Load the model, read the samples, measure, record."""
        from tenyson.jobs.data.conversations import read_conversations
        from tenyson.jobs.models.model import load_model
        from tenyson.jobs.preflight.prepare import prepare

        from my_thing.losses import losses

        ready = prepare(context)
        rows = read_conversations(context.task, ready.renderer, "eval", context.config, job=self.job_type)
        model = load_model(ready.source, context.config.model, dtype="float32")
        context.began(0)
        loss = Metric.mean(list(losses(model, rows.ids, rows.labels)))
        context.telemetry.emit(
            MetricsLogged(
                run_id=context.run_id,
                phase=context.kind.phase,
                step=len(rows.ids),
                values={"loss": loss.value},
            )
        )
        return Outcome({"loss": loss})
