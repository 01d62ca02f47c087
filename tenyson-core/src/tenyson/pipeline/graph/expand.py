"""Expansion: a step with a sweep, such as a matrix, is written out as many, each with its own label and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tenyson.config.experiment.sweep import Cell, Sweep, key_of
from tenyson.config.explain import did_you_mean
from tenyson.errors import ConfigError, Problem
from tenyson.pipeline.graph.references import find_references, put_value, step_of, substitute
from tenyson.tasks.preset import Preset, PresetStep

MAX_STEPS = 10_000


def expand(preset: Preset) -> list[PresetStep]:
    """The preset's steps with every matrix written out, all needs named, and `${matrix.AXIS}` filled in.

    A step has the axes of the preset, its own, and those of the steps that it takes a model, a checkpoint or a value
    from: it runs once for each combination. A step that only needs one with an axis of its own waits for all of its cells.

    Raises:
        ConfigError: more than 10,000 steps, two of one label, or an axis that is not there.
    """
    sweeps: dict[str, Sweep] = {}
    for step in preset.steps:
        own = step.sweep.over(preset.sweep)
        for source in _sources(step):
            own = own.over(sweeps.get(source, Sweep()))
        sweeps[step.label] = own
    written: list[PresetStep] = []
    cells: dict[str, list[tuple[Cell, str]]] = {}
    before: str | None = None
    for step in preset.steps:
        sweep = sweeps[step.label]
        # Counted before they are made: a few axes multiply to more than a memory holds.
        if sum(map(len, cells.values())) + sweep.cell_count() > MAX_STEPS:
            raise ConfigError(f"the preset {preset.name} comes to more than {MAX_STEPS} steps")
        cells[step.label] = [(cell, sweep.label_of(step.label, cell)) for cell in sweep.cells()]
    for step in preset.steps:
        needs = step.needs if step.needs is not None else ((before,) if before else ())
        before = step.label
        for cell, label in cells[step.label]:
            written.append(_written(step, cell, label, needs, cells, preset.file))
    twice = [label for label, count in Counter(step.label for step in written).items() if count > 1]
    if twice:
        raise ConfigError(
            f"two steps are labelled {min(twice)!r}", next_step="Choose labels that differ otherwise."
        )
    return written


def _written(
    step: PresetStep,
    cell: Cell,
    label: str,
    needs: Sequence[str],
    cells: Mapping[str, list[tuple[Cell, str]]],
    file: str,
) -> PresetStep:
    def fitting(name: str) -> list[str]:
        return [
            there
            for other, there in cells.get(name, [])
            if all(other[axis] == value for axis, value in cell.items() if axis in other)
        ] or [name]

    def known(name: str) -> Any:
        if name.startswith("matrix."):
            axis = name.removeprefix("matrix.")
            if axis not in cell:
                near = did_you_mean(axis, cell) or f"it has: {', '.join(cell) or 'none'}"
                raise ConfigError(
                    [Problem(f"step {step.label} has no axis {axis!r}", file=file, suggestion=near)]
                )
            return cell[axis]
        source = step_of(name)
        if source is not None and source in cells:
            return "${" + f"steps.{fitting(source)[0]}" + name[len(f"steps.{source}") :] + "}"
        raise KeyError(name)

    config = dict(substitute(step.config, known))
    for axis, value in cell.items():
        key = key_of(axis)
        if "." in key:
            config = put_value(config, key.split("."), value)
    all_needs = [*needs, *_sources(step)]
    return replace(
        step,
        label=label,
        config=config,
        needs=tuple(dict.fromkeys(there for name in all_needs for there in fitting(name))),
        model_from=fitting(step.model_from)[0] if step.model_from else None,
        checkpoint_from=fitting(step.checkpoint_from)[0] if step.checkpoint_from else None,
        sweep=Sweep(),
    )


def _sources(step: PresetStep) -> list[str]:
    """Labels of the steps that this one takes something from."""
    named = [
        step.model_from,
        step.checkpoint_from,
        *(step_of(name) for _, name in find_references(step.config)),
    ]
    return list(dict.fromkeys(name for name in named if name is not None))
