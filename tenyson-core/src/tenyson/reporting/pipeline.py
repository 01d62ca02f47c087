"""The report of a pipeline: gathers what its jobs left behind and fills the template with the report helpers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from importlib import resources
from pathlib import Path

from tenyson.errors import ReportError, TenysonError, UnknownPluginError
from tenyson.jobs.result import JobResult
from tenyson.plugins.failure import one_line
from tenyson.plugins.manager import PluginManager
from tenyson.reporting.builder import ReportBuilder
from tenyson.reporting.context import ReportContext
from tenyson.reporting.history import StepHistory
from tenyson.reporting.html import write_html
from tenyson.reporting.stage import Stage
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.usercode import text_fault

FILE = "report.md"


def write_report(
    title: str,
    stages: Iterable[tuple[str, str, JobResult]],
    directory: str | Path,
    task: TaskPlugin | None = None,
    *,
    template: str | Path | None = None,
    history: Sequence[StepHistory] = (),
    running: Collection[str] = (),
) -> Path:
    """Write `<directory>/report.md`, its charts, and both in one file `report.html`; returns the first path.

    `stages`: (label, job type, result) in the order in which they ran; `result.local_output_dir` holds the job's files.
    A pipeline that failed gets a report too, which says so. A job that succeeded must have left its numbers.
    `history` is what the journal tells, `running` the labels of the stages that are still at work.
    `template`: the placeholders may be `title`, `outcome`, `task-sections` and the name of any report helper.

    Raises:
        ReportError: numbers are missing; names all that were found missing.
        UnknownPluginError: the template or the task asks for a report helper that nobody provides.
    """
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    found = [Stage(*stage, running=stage[0] in running) for stage in stages]
    context = ReportContext(title, found, directory, task, history)
    if not context.stages and not history:
        raise ReportError("missing: the pipeline has no stages")
    if template is None:
        template = (
            resources.files("tenyson.reporting").joinpath("templates/pipeline.md").read_text(encoding="utf-8")
        )
    builder = ReportBuilder(template)
    sections = [name for name in ("title", "outcome", "task-sections") if name in builder.placeholders]
    written = {"title": title, "outcome": _outcome(context)}
    manager = PluginManager()
    problems: list[str] = []

    def helped(name: str) -> str:
        try:
            text: str = manager.load(manager.find("report_helper", name))(context)
        except ReportError as error:
            problems.append(str(error))
            return ""
        except UnknownPluginError:
            raise
        except (Exception, SystemExit) as error:
            return _failed(
                name, error.cause if isinstance(error, TenysonError) else f"it raises {one_line(error)}"
            )
        if fault := text_fault(text):
            return _failed(name, f"what it returned {fault}")
        return text

    own = _helpers(task)
    written.update({name: helped(name) for name in builder.placeholders if name not in sections})
    if "task-sections" in sections:
        written["task-sections"] = "\n\n".join(filter(None, map(helped, own)))
    if problems:
        raise ReportError("\n".join(dict.fromkeys(problems)), place=str(directory / FILE))
    path = builder.fill(written).write(directory / FILE)
    write_html(path.read_text(encoding="utf-8"), path.with_suffix(".html"), title)
    return path


def _helpers(task: TaskPlugin | None) -> list[str]:
    """Names of the helpers that the task wants."""
    wanted = task.report_helpers if task else ()
    return [name for name in wanted if isinstance(name, str)] if isinstance(wanted, Sequence) else []


def _failed(name: str, cause: str) -> str:
    """What a report says in place of a helper's section, so that one fault hides nothing else."""
    return f"**The section `{name}` could not be written**: {cause}"


def _outcome(context: ReportContext) -> str:
    unfinished = [step for step in context.history if step.state not in ("DONE", "FAILED")]
    if unfinished:
        waiting = [step.label for step in unfinished if step.state == "WAITING_HUMAN"]
        done = len(context.history) - len(unfinished)
        told = f"**This pipeline is not over**: {done} of {len(context.history)} steps are."
        return told + (f" Waiting for a decision: {', '.join(waiting)}." if waiting else "")
    broken = [stage for stage in context.stages if not stage.complete]
    if not broken:
        return f"All {len(context.stages)} stages succeeded."
    told = ", ".join(f"{stage.label} {stage.status}" for stage in broken)
    done = len(context.stages) - len(broken)
    return f"**This pipeline did not succeed: {told}.** {done} of {len(context.stages)} stages reached succeeded."
