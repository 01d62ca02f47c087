"""run_pipeline: steps in order through any cloud, kept in the journal, and a person's decision where one fails."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tenyson.core.database_url import default_db_url
from tenyson.core.stdio import say
from tenyson.errors import PipelineError
from tenyson.pipeline.control.launcher import BackendLauncher, Cloud, CloudLauncher, Launcher
from tenyson.pipeline.graph.policy import FailurePolicy, OnFailure
from tenyson.pipeline.graph.recording import recorded_in
from tenyson.pipeline.graph.step import Step, as_steps
from tenyson.pipeline.journal.decision import Ask, ask_terminal
from tenyson.pipeline.notify.notifier import Notifier
from tenyson.pipeline.request import BackendRequest, PipelineRequest
from tenyson.pipeline.result import PipelineResult

if TYPE_CHECKING:
    from tenyson.pipeline.control.registration import Submission
    from tenyson.pipeline.pipeline import Pipeline
    from tenyson.telemetry.dispatch import Telemetry

EditedCode = Literal["use", "stop"]


def run_pipeline(
    steps: Iterable[Step | tuple[Any, ...]],
    cloud: Cloud,
    on_failure: OnFailure = "wait",
    *,
    pipeline_id: str | None = None,
    db_url: str | None = None,
    log_file: str | Path | None = None,
    webhook_url: str | None = None,
    slack_webhook_url: str | None = None,
    telemetry: Telemetry | None = None,
    policy: FailurePolicy | None = None,
    max_parallel: int = 1,
    ask: Ask | None = None,
    edited_code: EditedCode = "stop",
) -> PipelineResult:
    """Run steps; each is `(label, config, JobClass, task)`, optionally with `model_from` and `needs`.

    A step follows the one before it, unless `needs` says otherwise. A failed step is printed in red, told to
    `log_file`, the webhooks (https) and `telemetry` where they are given, and then decided on: by a person for "wait"
    (resume from the latest checkpoint, restart from scratch, continue with what there is, abort), or by `on_failure` itself.

    What happens is kept in the journal. A script that was killed and is started again with the same steps takes
    its unfinished pipeline over, and finds the jobs that still run, where `cloud` uses a backend, as all managers
    of Tenyson do. Jobs of any other object with `run(job)` end with the process.

    Args:
        pipeline_id: its name in the journal; generated if not given. An existing pipeline is continued, and must ask for
            the same; of one that is over, the results are returned.
        db_url: the journal's database; by default TENYSON_DB_URL, or ./tenyson_telemetry.db. Steps whose configuration
            does not name a `telemetry.db_url` are recorded there, too, as with `tenyson run`.
        policy: on_failure with the budgets of "retry", in place of `on_failure`.
        max_parallel: how many jobs may run at once.
        ask: how a person is asked; at the terminal by default. Other answers, by `tenyson decide` or SQL, count as well.
        edited_code: whether a pipeline whose task's code was edited since it was begun continues with the current code
            ("use"), or does not ("stop"): steps still to run would mix two versions.

    Raises:
        ConfigError: the steps, `on_failure` or a webhook cannot be used, or the journal has a pipeline of that name that
            asks for something else; nothing was started.
        PipelineError: the journal cannot be used, another process drives this pipeline, or its code was edited.
    """
    from tenyson.pipeline.control.preflight import check_ahead
    from tenyson.pipeline.control.session import Session
    from tenyson.pipeline.graph.plan import new_pipeline_id
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.pipeline import Pipeline

    policy = policy or FailurePolicy(on_failure)
    session = Session(
        Notifier.make(log_file, webhook_url, slack_webhook_url, telemetry),
        ask or ask_terminal,
        grace_seconds=getattr(cloud, "grace_seconds", None),
    )
    steps = list(steps)
    checked = as_steps(steps)
    db_url = db_url or default_db_url()
    name = pipeline_id or new_pipeline_id(checked[0].label if checked else "empty")
    asked = _submission(recorded_in(checked, steps, db_url), name, cloud, policy, max_parallel)
    with Journal(db_url) as journal:
        found = None if pipeline_id else Pipeline.name_of_unfinished(journal, asked)
        if found is not None:
            pipeline = Pipeline.open(journal, found)
        else:
            pipeline = Pipeline.register(
                journal,
                asked,
                share=pipeline_id is None,
                before_new=lambda: check_ahead(asked.definitions, getattr(cloud, "backend", None)),
            )
        if not pipeline.is_new:
            _check_continues(pipeline, edited_code)
        return pipeline.drive(launcher_of(cloud, checked, policy), session, request=asked.request)


def launcher_of(cloud: Cloud, steps: Iterable[Step], policy: FailurePolicy) -> Launcher:
    """How jobs get onto a cloud: by its backend, where it has one."""
    backend, follower = getattr(cloud, "backend", None), getattr(cloud, "follower", None)
    if backend is not None and follower is not None:
        return BackendLauncher(backend, follower, policy)
    return CloudLauncher(
        cloud, {step.label: lambda config, step=step: step.job(config, step.task) for step in steps}  # type: ignore[misc]
    )  # fmt: skip


def _submission(
    steps: list[Step], name: str, cloud: Cloud, policy: FailurePolicy, max_parallel: int
) -> Submission:
    """What the script asks for. Raises: ConfigError, TaskError."""
    from tenyson.pipeline.control.registration import Submission
    from tenyson.pipeline.graph.define import define, plan_steps

    by_label = {step.label: step for step in steps}
    definitions = define(
        plan_steps(steps, name),
        lambda planned: by_label[planned.label].job(planned.config, by_label[planned.label].task),
    )
    request = PipelineRequest(
        policy,
        max_parallel,
        definitions[0].spec.folder.parent if definitions else Path(),
        BackendRequest.of(getattr(cloud, "backend", None)),
    )
    return Submission(name, name, definitions, request, "pipeline_id")


def _check_continues(pipeline: Pipeline, edited_code: EditedCode) -> None:
    """Whether a pipeline that the journal has already may continue. Raises: PipelineError."""
    name = pipeline.id
    pipeline.require_here()
    if pipeline.is_over:
        say(
            f"the pipeline {name} is over ({pipeline.record.status}), and its results of then are returned: another pipeline_id "
            f"starts a new one; `tenyson attach {name} --again` tries steps that failed again"
        )
        return
    edited = ", ".join(pipeline.edited_tasks())
    if edited and edited_code != "use":
        raise PipelineError(
            f"the code of {edited} was edited since {name} was begun: steps still to run would mix two versions",
            next_step='Restore the code, pass edited_code="use" to continue with the current code, or start a new pipeline '
            "with another pipeline_id.",
        )
    if edited:
        say(f"the code of {edited} was edited since {name} was begun: continuing with the current code")
