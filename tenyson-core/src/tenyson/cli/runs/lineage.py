"""tenyson lineage: where the weights and numbers of a run came from."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from tenyson.cli.options import as_json, database_url, db_url, output_dir
from tenyson.cli.runs.databases import find_databases
from tenyson.cli.runs.find import open_run
from tenyson.cli.terminal.format import moment, print_json
from tenyson.cli.terminal.left_out import some
from tenyson.telemetry.events.git import code_in_words


@click.command()
@click.argument("run")
@as_json
@db_url
@output_dir
def lineage(run: str, as_json: bool, db_url: str | None, output_dir: Path) -> int:
    """Show what RUN was made from, back to the base models: runs, attempts, code, seeds and metrics."""
    from tenyson.telemetry.read.ancestry import ancestry
    from tenyson.telemetry.read.store import Store

    with ExitStack() as stack:
        store, name = stack.enter_context(open_run(run, db_url, output_dir))
        known = [database.url for database in find_databases(db_url, output_dir) if database.names]
        others = [stack.enter_context(Store(url)) for url in known]
        data = ancestry(store, name, others=others)
    _add_steps(data, database_url(db_url))
    if as_json:
        print_json(data)
        return 0
    Console(highlight=False).print(_tree(data))
    return 0


def _add_steps(data: dict[str, Any], url: str) -> None:
    """The pipeline and the step that each run was, where a journal knows."""
    from tenyson.errors import PipelineError, TelemetryError
    from tenyson.pipeline.journal.journal import Journal

    try:
        journal = Journal(url, read_only=True)
    except (PipelineError, TelemetryError):
        return  # runs without a pipeline have no journal, or their database is not the pipeline's
    with journal:
        left = [data]
        while left:
            one = left.pop()
            steps = journal.attempts_of_run(one["run_id"])
            if steps:
                one["pipeline"], one["step"] = steps[0].pipeline_id, steps[0].label
                one["stands_for"] = [
                    f"{other.pipeline_id}/{other.label}" for other in steps if other.reused_from
                ]
            left += [source["run"] for source in one["made_from"] if source.get("run")]


def _tree(data: dict[str, Any], tree: Tree | None = None) -> Tree:
    words = Text(data["run_id"], style="bold")
    about = [data.get("job_type") or "not recorded", data.get("status") or ""]
    if data.get("step"):
        about.append(f"step {data['step']} of {data['pipeline']}")
    words.append("  " + ", ".join(filter(None, about)), style="dim")
    node = Tree(words, guide_style="dim") if tree is None else tree.add(words)
    for attempt in data["attempts"]:
        node.add(Text(_attempt_in_words(attempt), style="dim"))
    if data["metrics"]:
        numbers = some([f"{name} {value:.4g}" for name, value in data["metrics"].items()], 8)
        node.add(Text(f"measured: {numbers}"))
    for other in data.get("stands_for") or ():
        node.add(Text(f"its result was reused for {other}"))
    for source in data["made_from"]:
        if source.get("run"):
            _tree(source["run"], node.add(Text(f"{source['kind']} {source['reference']}, made by")))
        else:
            node.add(Text(f"{source['kind']} {source['reference']}"))
    return node


def _attempt_in_words(attempt: dict[str, Any]) -> str:
    code = code_in_words(attempt["git_commit"], attempt["git_diff_hash"])
    when = moment(attempt["started_at"], exact=False)
    return (
        f"attempt {attempt['attempt']}: {attempt['status']}, {when}, seed {attempt['seed']}, {code}, "
        f"config {str(attempt['config_hash'])[:12]}, {attempt['accelerator'] or 'cpu'}"
    )
