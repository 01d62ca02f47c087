"""How a plan looks: for `tenyson run --dry-run`, to people and to programs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from tenyson.cli.pipelines.model_costs import ModelCost, cost_data, model_costs
from tenyson.cli.terminal.table import print_table, reading_width
from tenyson.cloud.backend import cost_in_words
from tenyson.config.checks.endpoint import asks_endpoint
from tenyson.jobs.models.dims import find_dims
from tenyson.jobs.models.memory import GIB, MemoryEstimate, estimate_memory
from tenyson.pipeline.control.launcher import attempts_on
from tenyson.pipeline.graph.plan import Plan, PlannedStep
from tenyson.plugins.job_kinds import job_kind

if TYPE_CHECKING:
    from tenyson.cloud.backend import BaseBackend
    from tenyson.jobs.spec import JobSpec
    from tenyson.pipeline.graph.policy import FailurePolicy
    from tenyson.pipeline.graph.selection import Selection
    from tenyson.tasks.plugin import TaskPlugin


def plan_data(
    selection: Selection,
    backend: BaseBackend,
    specs: Mapping[str, JobSpec],
    tasks: Mapping[str, TaskPlugin],
    policy: FailurePolicy,
) -> dict[str, Any]:
    """A plan as JSON-safe data, with what one attempt of each step would cost, and how many there are at most."""
    plan = selection.plan
    return {
        "plan": plan.id,
        "title": plan.title,
        "backend": backend.name,
        "output_dir": str(plan.output_dir),
        "steps": [
            {
                "label": step.label,
                "job": step.job,
                "task": specs[step.label].task,
                "model_from": step.model_from,
                "checkpoint_from": step.checkpoint_from,
                "needs": list(step.needs),
                "selection": selection.how(step.label),
                "late": dict(step.late),
                "work": work(step),
                "folder": str(step.folder),
                "memory_bytes": memory.total if (memory := memory_of(step, plan)) else None,
                "attempts": attempts_on(backend, policy),
                "estimate": vars(backend.estimate(specs[step.label])),
                "models": cost_data(model_costs(step, specs[step.label], tasks[step.label], attempts=1)),
                "config": step.config,
            }
            for step in plan.steps
        ],
    }


def print_plan(
    selection: Selection,
    backend: BaseBackend,
    specs: Mapping[str, JobSpec],
    tasks: Mapping[str, TaskPlugin],
    policy: FailurePolicy,
    console: Console,
) -> None:
    """Print the steps, what they work on, where they write, and what they would cost with all attempts of the policy."""
    plan = selection.plan
    chosen = selection.anew != ()
    attempts, budget = attempts_on(backend, policy), backend.budget_usd
    console.print(Text(f"{plan.title} on backend {backend.name}: nothing is started", style="bold"))
    asked = {
        step.label: model_costs(step, specs[step.label], tasks[step.label], attempts) for step in plan.steps
    }
    rows = []
    for step in plan.steps:
        estimate = backend.estimate(specs[step.label])
        row = (
            step.label,
            step.job,
            model_in_words(step),
            work(step),
            memory_in_words(step, plan),
            "; ".join(
                [
                    cost_in_words(estimate, attempts=attempts, budget=budget),
                    *(f"{one.who}: {one.short}" for one in asked[step.label] if isinstance(one, ModelCost)),
                ]
            ),
            *([selection.how(step.label)] if chosen else []),
        )
        rows.append(row)
    header = ("step", "job", "model", "work", "memory", "cost", *(["selection"] if chosen else []))
    print_table(header, rows, width=reading_width())
    if len(plan.steps) > 1:
        console.print(graph(plan))
        if plan.max_parallel > 1:
            console.print(Text(f"at most {plan.max_parallel} jobs at once"))
    first = plan.steps[0]
    console.print(Text(f"task: {specs[first.label].task}  seed: {first.config['run']['seed']}"))
    folders = [str(step.folder) for step in plan.steps]
    more = f", and {len(folders) - 6} more" if len(folders) > 6 else ""
    console.print(Text(f"folders: {', '.join(folders[:6])}{more}"), soft_wrap=True)
    console.print(Text(f"report: {plan.directory / 'report.md'}"), soft_wrap=True)
    for step in plan.steps:
        if (memory := memory_of(step, plan)) is not None:
            parts = "; ".join(
                f"{name} {size / GIB:.1f} ({how})" for name, (size, how) in memory.parts.items()
            )
            console.print(Text(f"memory of {step.label}, in GiB: {parts}", style="dim"), soft_wrap=True)
    times = f", {attempts} attempts" if attempts > 1 else ""
    for label, costs in asked.items():
        for one in costs:
            said = one if isinstance(one, str) else one.sentence
            console.print(Text(f"cost of {label}{times}: {said}", style="dim"), soft_wrap=True)


def graph(plan: Plan) -> Tree:
    """The steps as a tree: each hangs under the step that it takes its model from, or needs last; further needs are named."""
    tree = Tree(Text(plan.title, style="bold"), guide_style="dim")
    nodes: dict[str, Tree] = {}
    left = list(plan.steps)
    while left:
        step = next(one for one in left if all(name in nodes for name in one.needs))
        left.remove(step)
        parent = step.model_from or step.checkpoint_from or (step.needs[-1] if step.needs else None)
        words = Text(step.label)
        others = [name for name in step.needs if name != parent]
        if step.checkpoint_from:
            words.append(
                f"  from its checkpoint {step.checkpoint_from}"
                if step.checkpoint_from != parent
                else "  from its checkpoint",
                style="dim",
            )
        if others:
            words.append(f"  after {', '.join(others)}", style="dim")
        if step.late:
            words.append(f"  with {', '.join(step.late)} from results", style="dim")
        nodes[step.label] = (nodes[parent] if parent else tree).add(words)
    return tree


def model_in_words(step: PlannedStep) -> str:
    """Such as "Qwen/Qwen3-0.6B, LoRA" or "what sft trained"."""
    model = step.config["model"]
    base = f"what {step.model_from} trained" if step.model_from else model["name"] or model["factory"]
    if asks_endpoint(step.config):
        return f"{base} at {urlsplit(step.config['endpoint']['url'] or '').netloc}"
    if not job_kind(step.job).trains:
        return str(base)
    lora = step.config.get("peft") is not None or model.get("adapter")
    return f"{base}, {'LoRA' if lora else 'all weights'}"


def memory_of(step: PlannedStep, plan: Plan) -> MemoryEstimate | None:
    """What the step needs on its accelerator; None where the model's dims is not known here."""
    config = dict(step.config)
    if asks_endpoint(config):
        return None
    dims = find_dims(config["model"])
    for source in plan.steps:
        if source.label == step.model_from:
            dims = dims or find_dims(source.config["model"])
            config["peft"] = config.get("peft") or source.config.get("peft")
    return estimate_memory(dims, step.job, config) if dims else None


def memory_in_words(step: PlannedStep, plan: Plan) -> str:
    """Such as "about 12.3 GiB"."""
    if asks_endpoint(step.config):
        return "none here"
    memory = memory_of(step, plan)
    return str(memory) if memory else "not known here"


def work(step: PlannedStep) -> str:
    """The batch arithmetic in words, for one device; None in the configuration means: as many as the task has."""
    config = step.config
    training, evaluation = config["training"], config["evaluation"]
    kind = job_kind(step.job)
    if not kind.trains:
        samples = evaluation["samples"] or "all"
        each = f" × {evaluation['samples_per_prompt']}" if evaluation["samples_per_prompt"] > 1 else ""
        return f"{samples}{each} rollouts of split {evaluation['split']}"
    size, accumulation = training["batch_size"], training["gradient_accumulation_steps"]
    batch = size * accumulation
    arithmetic = f"{size} × {accumulation} = {batch}" if accumulation > 1 else str(batch)
    steps = training["max_steps"]
    length = (
        f"{steps} steps"
        if steps
        else f"{training['epochs']:g} epochs of {training['samples'] or 'all'} samples"
    )
    if not kind.generates:
        total = f", {steps * batch} in all" if steps else ""
        return f"{length}; {arithmetic} {kind.rows} a step{total}"
    group = training["num_generations"]
    return f"{length}; {arithmetic} {kind.rows} a step: {batch / group:g} prompts × {group}"
