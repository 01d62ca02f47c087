"""Recipes: the experiment behind a one-line command, with defaults that suit models of up to some billion parameters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from tenyson.cli.dataset.document import LocalPath
from tenyson.cli.dataset.models import model_section, run_config
from tenyson.errors import TaskError

LORA = {"r": 16, "lora_alpha": 32, "target_modules": "all-linear"}
FRACTION = 0.05
COUNTED = 200_000_000
"""Bytes of data up to which rows are counted before the configuration is written."""
_RATES = {
    ("sft", False): 2e-4,
    ("sft", True): 2e-5,
    ("dpo", False): 1e-5,
    ("dpo", True): 1e-6,
    ("rl", False): 1e-5,
    ("rl", True): 1e-6,
}
"""Peak learning rates by job and by whether all weights are trained."""

Recipe = tuple[dict[str, Any], list[str]]
"""An experiment as its file has it, and what is to be said about it."""


def train_document(args: dict[str, Any], output_dir: Path, *, model: str, full: bool, epochs: float, max_steps: int | None,
                   learning_rate: float | None, batch_size: int, max_length: int | None, eval_fraction: float | None,
                   eval_data: str | None) -> Recipe:  # fmt: skip
    """SFT, or DPO on pairs. Raises: TaskError: the data cannot be read."""
    args, rows, notes = _held_out(_located(args), eval_fraction, eval_data)
    job = "dpo" if rows.format == "preference" else "sft"
    training: dict[str, Any] = {
        "epochs": epochs,
        "max_steps": max_steps,
        "learning_rate": learning_rate or _RATES[job, full],
        "batch_size": batch_size,
        "max_length": max_length or 2048,
    }
    if rows.held_out:
        steps = max_steps or (int(rows.train * epochs / batch_size) if rows.train else 500)
        training["eval_steps"] = max(1, steps // 10)
    config: dict[str, Any] = {"training": _given(training)}
    if not full:
        config["peft"] = dict(LORA)
    step = {"label": "train", "job": job, "config": config}
    return _experiment("train", args, model, output_dir, [step], f"{job.upper()} of {model}"), notes


def rl_document(args: dict[str, Any], output_dir: Path, *, model: str, rewards: tuple[str, ...], full: bool, epochs: float,
                max_steps: int | None, learning_rate: float | None, batch_size: int, num_generations: int, max_new_tokens: int,
                eval_fraction: float | None, eval_data: str | None) -> Recipe:  # fmt: skip
    """GRPO between two evaluations. Raises: TaskError: the data cannot be read."""
    args, rows, notes = _held_out(_located(args), eval_fraction, eval_data)
    args["rewards"] = [reward_argument(one) for one in rewards]
    training = {
        "epochs": epochs,
        "max_steps": max_steps,
        "learning_rate": learning_rate or _RATES["rl", full],
        "batch_size": batch_size,
        "num_generations": num_generations,
    }
    config: dict[str, Any] = {"training": _given(training)}
    if not full:
        config["peft"] = dict(LORA)
    steps: list[dict[str, Any]] = [{"label": "rl", "job": "rl", "config": config}]
    if rows.held_out:
        steps = [
            {"label": "before", "job": "eval"},
            *steps,
            {"label": "after", "job": "eval", "model_from": "rl"},
        ]
    document = _experiment("rl", args, model, output_dir, steps, f"GRPO of {model}")
    document["shared"]["generation"] = {"max_new_tokens": max_new_tokens, "temperature": 1.0}
    return document, notes


def eval_document(args: dict[str, Any], output_dir: Path, *, models: tuple[str, ...], rewards: tuple[str, ...], samples: int | None,
                  replies: int, temperature: float, max_new_tokens: int, eval_fraction: float | None) -> Recipe:  # fmt: skip
    """One evaluation for each model. Raises: TaskError: the data cannot be read."""
    args, notes = _located(args), []
    if eval_fraction is None:
        eval_fraction, note = _fraction_of_runs(args, models, output_dir)
        notes += [note] if note else []
    if eval_fraction:
        args["eval_fraction"] = eval_fraction
    args["rewards"] = [reward_argument(one) for one in rewards]
    labels = _labels(models)
    steps = [
        {"label": label, "job": "eval", "needs": [], "config": {"model": model_section(one, output_dir)}}
        for label, one in zip(labels, models, strict=True)
    ]
    document = _experiment("eval", args, None, output_dir, steps, f"Evaluation of {', '.join(models)}")
    document["shared"]["evaluation"] = _given({"samples": samples, "samples_per_prompt": replies})
    document["shared"]["generation"] = {"max_new_tokens": max_new_tokens, "temperature": temperature}
    return document, notes


def reward_argument(text: str) -> Any:
    """A reward's name, or its mapping with options written as YAML. Raises: click.UsageError: it cannot be read."""
    if not text.lstrip().startswith("{"):
        return text
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise click.UsageError(
            f'--reward {text}: write a name, or YAML such as {{reward: number, extract: {{after: "####"}}}}'
        ) from None


class Rows:
    """What is known of the data before anything runs."""

    def __init__(self, format_name: str, train: int, held_out: int) -> None:
        self.format = format_name
        self.train = train
        """Rows to train on; 0: not counted."""
        self.held_out = held_out
        """Rows of the eval split; -1: not counted."""


def _held_out(
    args: dict[str, Any], fraction: float | None, eval_data: str | None
) -> tuple[dict[str, Any], Rows, list[str]]:
    """The arguments with what is held out, which holds at least one row."""
    from tenyson.tasks.dataset.task import DatasetTask

    notes: list[str] = []
    if eval_data is not None:
        if fraction:
            raise TaskError(
                "--eval-data and --eval-fraction both say what is held out", next_step="Give one of them."
            )
        args["eval_data"] = _located({"data": eval_data})["data"]
    elif fraction != 0:
        args["eval_fraction"] = fraction or FRACTION
    task = DatasetTask(**_plain(args))
    known = task.sources[0].format[0]
    paths = [source.path for source in task.sources]
    sizes = [path.stat().st_size for path in paths if path is not None and path.is_file()]
    if len(sizes) < len(paths) or sum(sizes) > COUNTED:
        return args, Rows(known, 0, -1), notes
    counts = {split: sum(1 for _ in task.rows(split)) for split in ("train", "eval")}
    if eval_data is None and fraction != 0 and not counts["eval"]:
        args.pop("eval_fraction")
        notes.append(
            f"{counts['train']} rows are too few to hold out {fraction or FRACTION:.0%}: nothing is held out (--eval-fraction)"
        )
        return args, Rows(known, counts["train"], 0), notes
    return args, Rows(known, counts["train"], counts["eval"] if fraction != 0 or eval_data else 0), notes


def _fraction_of_runs(
    args: Mapping[str, Any], models: tuple[str, ...], output_dir: Path
) -> tuple[float, str]:
    """What a run among the models held out of the same data, and how to say so."""
    for one in models:
        config = run_config(one, output_dir)
        theirs = ((config or {}).get("task") or {}).get("args") or {}
        fraction = theirs.get("eval_fraction")
        if fraction and _same_data(theirs.get("data"), args["data"]):
            return (
                float(fraction),
                f"{one} held out {float(fraction):.0%} of this data: these rows are evaluated on (--eval-fraction 0 takes all)",
            )
    return 0.0, ""


def _same_data(theirs: Any, ours: Any) -> bool:
    def paths(data: Any) -> set[str]:
        listed = data if isinstance(data, list) else [data]
        names = [str(one.get("path")) if isinstance(one, Mapping) else str(one) for one in listed]
        return {str(Path(name).resolve()) if Path(name).exists() else name for name in names}

    return paths(theirs) == paths(ours)


def _experiment(
    verb: str,
    args: dict[str, Any],
    model: str | None,
    output_dir: Path,
    steps: list[dict[str, Any]],
    summary: str,
) -> dict[str, Any]:
    first = args["data"][0] if isinstance(args["data"], list) else args["data"]
    stem = Path(str(first["path"] if isinstance(first, Mapping) else first)).name.partition(".")[0]
    shared: dict[str, Any] = {"run": {"output_dir": LocalPath(output_dir)}}
    if model is not None:
        shared["model"] = model_section(model, output_dir)
    shared["task"] = {"name": "dataset", "args": args}
    return {"name": f"{verb}-{_word(stem)}", "summary": summary, "shared": shared, "steps": steps}


def _located(args: dict[str, Any]) -> dict[str, Any]:
    """The arguments with local paths marked as such."""

    def marked(one: Any) -> Any:
        if isinstance(one, Mapping):
            return {**one, "path": marked(one["path"])}
        return LocalPath(one) if Path(one).expanduser().exists() else one

    data = args["data"]
    return {**args, "data": [marked(one) for one in data] if isinstance(data, list) else marked(data)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, LocalPath) else value


def _labels(models: tuple[str, ...]) -> list[str]:
    """A label for each model, made from the end of its name, all different."""
    found: list[str] = []
    for one in models:
        base = label = _word(one.rstrip("/").rpartition("/")[2].rpartition(":")[2]) or "model"
        number = 1
        while label in found:
            number += 1
            label = f"{base}-{number}"
        found.append(label)
    return found


def _word(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}
