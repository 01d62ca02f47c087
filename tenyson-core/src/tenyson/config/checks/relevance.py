"""Relevance: keys that are valid but mean nothing to the job at hand. They are told, not refused: presets share keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenyson.config.document import Document
from tenyson.errors import Problem

if TYPE_CHECKING:
    from tenyson.config.schema import Config

ONLY_FOR = {
    "training": ("sft", "rl"),
    "training.max_length": ("sft",),
    "training.packing": ("sft",),
    "training.early_stopping_patience": ("sft",),
    "training.early_stopping_min_delta": ("sft",),
    "training.target_eval_loss": ("sft",),
    "training.num_generations": ("rl",),
    "training.pause_on": ("rl",),
    "training.preflight_groups": ("rl",),
    "training.beta": ("rl",),
    "generation": ("rl", "eval"),
    "evaluation": ("eval",),
    "trl": ("sft", "rl"),
    "peft": ("sft", "rl"),
    "engine_args": ("rl", "eval"),
}
"""Keys that not every job reads, and the jobs that do."""


def irrelevant_keys(config: Config, job_type: str, document: Document | None = None) -> list[Problem]:
    """A warning for each key that is set to something else than its default and that this job does not read."""
    document = document or Document("", {})
    given, found = config.model_dump(), []
    defaults = type(config).model_validate({"model": given["model"]}).model_dump()
    for key, jobs in ONLY_FOR.items():
        section, _, name = key.partition(".")
        value, default = given[section], defaults[section]
        if job_type in jobs or value == default:
            continue
        if name and job_type not in ONLY_FOR.get(section, (job_type,)):
            continue  # the whole section was told already
        if not name or value[name] != default[name]:
            problem = document.problem(
                tuple(key.split(".")), f"means nothing to {job_type}", f"read by {' and '.join(jobs)}"
            )
            found.append(
                Problem(problem.cause, problem.key, problem.file, problem.line, problem.suggestion, "warning")
            )
    return found
