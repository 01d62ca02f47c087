"""Model cards: what a repository on the Hub says of a run: data, recipe, metrics with their intervals, lineage."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tenyson.config.load import parse_config
from tenyson.config.yamltext import dump
from tenyson.telemetry.events.redact import Redactor

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_TOLD = ("model", "task", "training", "generation", "rollouts", "peft", "trl", "engine_args")
"""Sections of a configuration that say how a model came about; the others say where."""
_VERSIONS = ("tenyson-core", "torch", "transformers", "trl", "peft", "vllm")


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of the model."""

    run_id: str
    task: str
    split: str
    metrics: Mapping[str, Mapping[str, Any]]
    """By name: value, low and high of the 95% interval, and n, each None where it is not known."""


@dataclass(frozen=True)
class CardFacts:
    """What is known of a trained model."""

    run_id: str
    job: str
    """The kind of job, such as "sft"."""
    task: str
    status: str
    config: Mapping[str, Any]
    """As the run recorded it."""
    is_adapter: bool
    metrics: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Of the training itself, as an evaluation has them."""
    evaluations: Sequence[Evaluation] = ()
    lineage: Sequence[Mapping[str, Any]] = ()
    """Rows of the table `lineage`."""
    versions: Mapping[str, str] = field(default_factory=dict)


def model_card(facts: CardFacts, name: str, redactor: Redactor) -> str:
    """README.md: metadata in YAML between two lines of dashes, and Markdown. Secrets are struck from both.

    Args:
        name: the repository's, such as "someone/model".
    """
    facts = replace(facts, config=redactor.clean(dict(facts.config)))
    text = "\n".join([*_metadata(facts), *_body(facts, name)])
    return redactor.text(text.rstrip() + "\n")


def _metadata(facts: CardFacts) -> Iterator[str]:
    about: dict[str, Any] = {
        "library_name": "peft" if facts.is_adapter else "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["tenyson", facts.job, *(["lora"] if facts.is_adapter else [])],
    }
    base = (facts.config.get("model") or {}).get("name")
    if isinstance(base, str) and _HUB_NAME.fullmatch(base) and not Path(base).exists():
        about = {"base_model": base, **about}
    yield from ("---", dump(about).rstrip(), "---", "")


def _body(facts: CardFacts, name: str) -> Iterator[str]:
    what = "A LoRA adapter" if facts.is_adapter else "A language model"
    ended = "" if facts.status == "success" else f" The run ended as: {facts.status}."
    yield from (f"# {name.rpartition('/')[2]}", "")
    yield from (
        f"{what}, trained by `{facts.job}` on the task `{facts.task}` in the Tenyson run `{facts.run_id}`.{ended}",
        "",
    )
    yield from ("## Data", "", f"The training samples of the task `{facts.task}`{_arguments(facts)}.", "")
    yield "## Evaluation\n"
    if facts.evaluations:
        yield from _table(
            ("run", "task", "split", "metric", "value", "95% interval", "n"),
            (
                (one.run_id, one.task, one.split, *_metric(metric, values))
                for one in facts.evaluations
                for metric, values in one.metrics.items()
            ),
        )
    else:
        yield "No evaluation of this model is recorded.\n"
    if facts.metrics:
        rows = (_metric(metric, values) for metric, values in facts.metrics.items())
        yield "## Training metrics\n"
        yield from _table(("metric", "value", "95% interval", "n"), rows)
    if facts.lineage:
        yield "## Made from\n"
        made = ((row["kind"], row["reference"], row["source_run_id"] or "") for row in facts.lineage)
        yield from _table(("kind", "reference", "run"), made)
    yield from ("## Recipe", "", "```yaml", dump(_recipe(facts)).rstrip(), "```", "")
    known = [f"{one} {facts.versions[one]}" for one in _VERSIONS if one in facts.versions]
    if known:
        yield f"Versions: {', '.join(known)}."


def _arguments(facts: CardFacts) -> str:
    task, training = facts.config.get("task") or {}, facts.config.get("training") or {}
    told = [f"`{key}: {value}`" for key, value in (task.get("args") or {}).items()]
    if training.get("samples"):
        told.append(f"at most {training['samples']} of them")
    return f" ({', '.join(told)})" if told else ""


def _recipe(facts: CardFacts) -> dict[str, Any]:
    """What the configuration says beyond the defaults."""
    said = parse_config(dict(facts.config)).model_dump(mode="json", exclude_defaults=True)
    chosen = {name: said[name] for name in _TOLD if said.get(name)}
    seed = (facts.config.get("run") or {}).get("seed", 0)
    return {"job": facts.job, "seed": seed, **chosen}


def _metric(name: str, values: Mapping[str, Any]) -> tuple[str, str, str, str]:
    value, low, high, n = (values.get(part) for part in ("value", "low", "high", "n"))
    interval = "" if low is None or high is None else f"{low:.4g} to {high:.4g}"
    return name, "" if value is None else f"{value:.4g}", interval, "" if n is None else str(n)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(_cell(one) for one in row)} |"
    yield ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
