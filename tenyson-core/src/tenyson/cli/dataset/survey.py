"""A survey of a data file: one pass over its rows, with what `tenyson data` shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.core.finding import Finding
from tenyson.errors import TenysonError
from tenyson.tasks.dataset.formats import FORMATS, Example
from tenyson.tasks.dataset.near import NearDuplicates
from tenyson.tasks.dataset.row import Row, RowError
from tenyson.tasks.dataset.task import DatasetTask

if TYPE_CHECKING:
    from tenyson.engines.renderers import Renderer

LISTED = 20
"""Bad rows that are listed."""
NEARLY_COMPARED = 100_000
"""Rows that are compared for near duplicates; a millisecond each."""
_PERCENTS = (50, 90, 99, 100)


@dataclass
class SourceView:
    """One source."""

    label: str
    format: str
    columns: dict[str, str]
    """Fields by the column that they are read from, where those have other names."""
    learns: str
    rows: int = 0


@dataclass
class Survey:
    """What was found."""

    sources: list[SourceView] = field(default_factory=list)
    rows: int = 0
    bad_rows: int = 0
    bad: list[str] = field(default_factory=list)
    """The first bad rows, with places."""
    lengths: dict[str, int] = field(default_factory=dict)
    """Percentiles, in `unit`."""
    unit: str = "characters"
    turns: dict[str, int] = field(default_factory=dict)
    """Rows by how many replies they hold."""
    samples: list[list[tuple[str, bool]]] = field(default_factory=list)
    """The first rows in pieces, each with whether it is learnt."""
    findings: list[Finding] = field(default_factory=list)


def survey(
    args: dict[str, Any],
    *,
    model: str | None,
    eval_data: str | None,
    max_length: int | None,
    shown: int,
    near: bool,
) -> Survey:
    """Read all rows once.

    Args:
        model: whose tokenizer counts tokens and shows what is learnt.
        shown: rows to show.
        near: whether near duplicates are looked for.

    Raises: TaskError: the data cannot be read. ModelError: the tokenizer cannot.
    """
    if eval_data is not None:
        args = {**args, "eval_data": eval_data}
    task = DatasetTask(**args, bad_rows="leave_out")
    found = Survey()
    for source in task.sources:
        name, columns = source.format
        found.sources.append(SourceView(source.label, name, columns, FORMATS[name].learns))
    renderer = None if model is None else _renderer(model)
    compared = NearDuplicates() if near else None
    lengths = _read(task, "train", found, renderer, shown, compared)
    if lengths:
        found.lengths = percentiles(lengths)
    found.unit = "characters" if renderer is None else "tokens"
    if (
        renderer is not None
        and max_length is not None
        and (cut := sum(length > max_length for length in lengths))
    ):
        found.findings.append(Finding(
            "length", "warning", f"{cut:,} of {len(lengths):,} rows are longer than {max_length} tokens and would be cut",
            f"Raise training.max_length to {max(lengths)} to keep all of them whole.",
        ))  # fmt: skip
    if eval_data is not None:
        _read(task, "eval", found, None, 0, compared)
    found.findings += list(task.findings())
    if compared is not None:
        found.findings += list(compared.findings())
    return found


def _read(
    task: DatasetTask,
    split: str,
    found: Survey,
    renderer: Renderer | None,
    shown: int,
    near: NearDuplicates | None,
) -> list[int]:
    """One split; returns the lengths of its rows."""
    lengths: list[int] = []
    oddities = task.oddities(split)
    views = {view.label: view for view in found.sources}
    for one in task.rows(split, oddities):
        if isinstance(one, RowError):
            found.bad_rows += 1
            found.bad += [str(one)] if len(found.bad) < LISTED else []
            continue
        row, example = one
        oddities.look(row, example)
        if near is not None and oddities.rows <= NEARLY_COMPARED:
            near.add(split, row, example)
        if split == "train":
            found.rows += 1
            views[row.source].rows += 1
            replies = sum(message["role"] == "assistant" for message in example.completion or example.chosen)
            found.turns[str(replies)] = found.turns.get(str(replies), 0) + 1
            pieces, length = _learnt(row, example, renderer)
            lengths.append(length)
            if len(found.samples) < shown:
                found.samples.append(pieces)
    return lengths


def _learnt(row: Row, example: Example, renderer: Renderer | None) -> tuple[list[tuple[str, bool]], int]:
    """The conversation in pieces with whether they are learnt, and its length in tokens; in characters without a tokenizer."""
    replies = example.completion or example.chosen
    if renderer is None:
        plain = [(f"{one['role']}: {_shown(one)}\n", one["role"] == "assistant" and place >= len(example.prompt))
                 for place, one in enumerate([*example.prompt, *replies])]  # fmt: skip
        return plain, sum(len(one["content"]) for one in (*example.prompt, *replies))
    from tenyson.jobs.preflight.report import pieces_of
    from tenyson.tasks.sample import Sample

    sample = Sample(row.place, example.prompt, replies, tools=example.tools)
    if not replies:
        ids = renderer.prompt_ids(sample)
        return [(renderer.raw(ids), False)], len(ids)
    ids, mask = renderer.conversation(sample, "keep")
    return pieces_of(ids, mask, renderer), len(ids)


def _shown(message: Any) -> str:
    calls = "".join(f" [calls {one['function']['name']}]" for one in message.get("tool_calls") or ())
    return f"{message['content']}{calls}"


def _renderer(model: str) -> Renderer:
    from tenyson.config.load import parse_config
    from tenyson.engines.renderers import open_renderer
    from tenyson.jobs.models.model import generation_eos, load_tokenizer, resolve_model
    from tenyson.jobs.runtime.quiet import missing_libraries, quiet_libraries

    if missing_libraries():
        raise TenysonError(
            "--model needs the training libraries", next_step="pip install 'tenyson-core[train]'"
        )
    quiet_libraries()
    from tenyson.cli.dataset.models import model_section

    section = model_section(model, Path("./outputs"))
    config = parse_config(
        {"model": {key: str(value) if isinstance(value, str) else value for key, value in section.items()}}
    )
    source = resolve_model(config)
    return open_renderer(load_tokenizer(source), generation_eos(source), config.model)


def percentiles(lengths: Sequence[int]) -> dict[str, int]:
    """Lengths that so many percent of the rows have at most."""
    ordered = sorted(lengths)
    return {f"{percent}%": ordered[max(0, -(-len(ordered) * percent // 100) - 1)] for percent in _PERCENTS}
