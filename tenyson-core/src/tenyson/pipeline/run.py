"""run_pipeline: steps in order through any cloud, kept in the journal, and a person's decision where one fails."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tenyson.cloud.adapted import adapted
from tenyson.cloud.local.host import relation
from tenyson.core.database_url import default_db_url
from tenyson.core.stdio import say
from tenyson.errors import PipelineError
from tenyson.pipeline.cache.spec_diff import changes, edited_tasks, refusal, sources_of, that_matter
from tenyson.pipeline.control.drive import drive
from tenyson.pipeline.control.launcher import BackendLauncher, Cloud, CloudLauncher, Launcher
from tenyson.pipeline.control.other_machines import require_here
from tenyson.pipeline.graph.definition import Definition, check_order
from tenyson.pipeline.graph.handover import expected_kind, start_from
from tenyson.pipeline.graph.policy import FailurePolicy, OnFailure
from tenyson.pipeline.graph.recording import recorded_in
from tenyson.pipeline.graph.step import Step, as_steps, with_values
from tenyson.pipeline.journal.decision import Ask
from tenyson.pipeline.journal.names import require_free
from tenyson.pipeline.journal.project import here, locate
from tenyson.pipeline.journal.rows import definition_of
from tenyson.pipeline.notify.notifier import Notifier
from tenyson.pipeline.result import PipelineResult

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import PipelineRecord
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
    its unfinished pipeline over, and finds the jobs that still run, where `cloud` stands on a backend, as all managers
    of Tenyson do. Jobs of any other object with `run(job)` end with the process.

    Args:
        pipeline_id: its name in the journal; made up where it is not given. One that is there already is gone on with,
            and must ask for the same; of one that is over, the results are returned.
        db_url: the journal's database; by default TENYSON_DB_URL, or ./tenyson_telemetry.db. Steps whose configuration
            does not name a `telemetry.db_url` are recorded there, too, as with `tenyson run`.
        policy: on_failure with the budgets of "retry", in place of `on_failure`.
        max_parallel: how many jobs may run at once.
        ask: how a person is asked; at the terminal by default. Other answers, by `tenyson decide` or SQL, count as well.
        edited_code: whether a pipeline whose task's code was edited since it was begun goes on with the code as it is
            now ("use"), or does not ("stop"): steps still to run would mix two versions.

    Raises:
        ConfigError: the steps, `on_failure` or a webhook cannot be used, or the journal has a pipeline of that name that
            asks for something else; nothing was started.
        PipelineError: the journal cannot be used, another process drives this pipeline, or its code was edited.
    """
    from tenyson.pipeline.control.preflight import check_ahead
    from tenyson.pipeline.control.relocation import settle
    from tenyson.pipeline.journal.journal import Journal

    policy = policy or FailurePolicy(on_failure)
    notifier = Notifier.make(log_file, webhook_url, slack_webhook_url, telemetry)
    steps = list(steps)
    checked = as_steps(steps)
    print_of = fingerprint(
        [
            [
                step.label,
                step.config,
                getattr(step.job, "__qualname__", str(step.job)),
                step.model_from,
                # Only where they are given: pipelines of earlier versions are found by their fingerprints.
                *([] if step.needs is None else [step.needs]),
            ]
            for step in checked
        ]
    )
    db_url = db_url or default_db_url()
    recorded = recorded_in(checked, steps, db_url)
    with Journal(db_url) as journal:
        while True:
            name = (
                pipeline_id
                or unfinished(journal, print_of)
                or new_name(checked[0].label if checked else "empty")
            )
            definitions = define(recorded, name)
            check_order(definitions)
            record = journal.pipeline(name)
            if record is not None:
                record, _ = settle(journal, record, say=say)
                require_here(journal, record)
                _check_goes_on(journal, record, definitions, edited_code)
                break
            require_free(journal, name, definitions, "pipeline_id")
            check_ahead(definitions, getattr(cloud, "backend", None))
            about = _about(journal, cloud, definitions, policy, max_parallel)
            steps_of = {one.label: one.to_json() for one in definitions}
            ours = (lambda found: is_ours(journal, found)) if pipeline_id is None else lambda _: False
            if journal.create(name, name, print_of, about, steps_of, unless=ours) == name:
                break
            # The same script, started at the same moment, was quicker.
        return drive(
            journal,
            name,
            launcher_of(cloud, checked, policy),
            policy=policy,
            notifier=notifier,
            ask=ask,
            max_parallel=max_parallel,
            grace_seconds=getattr(cloud, "grace_seconds", None),
        )


def _check_goes_on(
    journal: Journal, record: PipelineRecord, definitions: list[Definition], edited_code: EditedCode
) -> None:
    """Whether a pipeline that is there already may be gone on with. Raises: ConfigError, PipelineError."""
    before = {step.label: definition_of(step) for step in journal.steps(record.id)}
    if changed := that_matter(changes(before, {one.label: one for one in definitions}), before):
        raise refusal(record.id, changed, before, "pipeline_id")
    if record.status in ("success", "failed"):
        say(
            f"the pipeline {record.id} is over ({record.status}), and its results of then are returned: another pipeline_id "
            f"begins anew; `tenyson attach {record.id} --again` tries steps that failed again"
        )
        return
    edited = ", ".join(edited_tasks(record, definitions))
    if edited and edited_code != "use":
        raise PipelineError(
            f"the code of {edited} was edited since {record.id} was begun: steps still to run would mix two versions",
            next_step='Put the code back, give edited_code="use" to go on with it as it is now, or another pipeline_id to '
            "begin anew.",
        )
    if edited:
        say(f"the code of {edited} was edited since {record.id} was begun: going on with it as it is now")


def define(steps: Iterable[Step], pipeline_id: str) -> list[Definition]:
    """What the journal keeps of each step. Making the jobs checks configurations and tasks. Raises: ConfigError, TaskError."""
    definitions: dict[str, Definition] = {}
    before: tuple[str, ...] = ()
    for step in steps:
        config: Mapping[str, Any] = step.config
        run_id = (config.get("run") or {}).get("id") or f"{pipeline_id}-{step.label}"
        config = with_values(config, "run", id=run_id)
        if step.model_from is not None and step.model_from in definitions:
            source = definitions[step.model_from].spec
            kind = expected_kind(source.config)
            expected = start_from(config, source.config, source.folder / kind, kind)
        else:
            expected = dict(config)
        spec = step.job(expected, step.task).spec()
        needs = before if step.needs is None else tuple(step.needs)
        if step.model_from is not None:
            needs = tuple(dict.fromkeys((*needs, step.model_from)))
        definitions[step.label] = Definition(step.label, spec, needs, step.model_from)
        before = (step.label,)
    return list(definitions.values())


def launcher_of(cloud: Cloud, steps: Iterable[Step], policy: FailurePolicy) -> Launcher:
    """How jobs get onto a cloud: by its backend, where it has one."""
    backend, follower = getattr(cloud, "backend", None), getattr(cloud, "follower", None)
    if backend is not None and follower is not None:
        return BackendLauncher(backend, follower, policy)
    return CloudLauncher(
        cloud, {step.label: lambda config, step=step: step.job(config, step.task) for step in steps}  # type: ignore[misc]
    )  # fmt: skip


def unfinished(journal: Journal, print_of: str) -> str | None:
    """The newest pipeline that asks for the same, was begun here, and is not over; None where there is none.

    Here: in this project, on this machine. In a database that many share, the same command is often somebody else's.
    """
    for record in journal.pipelines(fingerprint=print_of):
        if record.status in ("running", "stopped") and is_ours(journal, record):
            return record.id
    return None


def is_ours(journal: Journal, record: PipelineRecord) -> bool:
    """Whether a pipeline was begun in this project, on this machine."""
    try:
        place = locate(journal, record)
    except PipelineError:
        return False
    if place.standing == "copied" or place.root.resolve() != Path.cwd().resolve():
        return False
    alone = journal.file is not None and journal.file.is_relative_to(Path.cwd().resolve())
    begun = record.plan.get("machine") or {"host": record.plan.get("host")}
    return alone or "cwd" not in record.plan or relation(begun) != "elsewhere"


def _about(
    journal: Journal,
    cloud: Cloud,
    definitions: list[Definition],
    policy: FailurePolicy,
    max_parallel: int,
) -> dict[str, Any]:
    """What another controller needs; without a backend that can be made again, only the same script can go on."""
    given = getattr(cloud, "backend", None)
    backend = None if given is None else adapted(given)
    about = {
        **here(journal),
        "policy": vars(policy),
        "max_parallel": max_parallel,
        "sources": sources_of(definitions),
    }
    if definitions:
        about["output_dir"] = str(definitions[0].spec.folder.parent)
    if backend is not None and backend.settings is not None:
        about["backend"] = {"name": backend.name, "settings": backend.settings}
    return about


def fingerprint(asked: Any) -> str:
    """SHA-256 of what was asked, in canonical JSON."""
    return sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()


def new_name(title: str) -> str:
    """A name for a pipeline."""
    from tenyson.pipeline.graph.plan import new_pipeline_id

    return new_pipeline_id(title)
