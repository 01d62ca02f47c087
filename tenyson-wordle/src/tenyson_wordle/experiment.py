"""The Wordle experiment: SFT, then RL from what SFT trained, then evaluation, and one report of all three.

`python -m tenyson.examples.wordle.experiment` (its import path in core) runs it on this machine; `main(AWSManager(...))` runs it elsewhere.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

from tenyson.jobs.eval import EvalJob
from tenyson.jobs.rl import RLJob
from tenyson.jobs.sft import SFTJob
from tenyson.pipeline import Step, run_pipeline
from tenyson.reporting import ReportBuilder
from tenyson_wordle.task import WordleTask

TEMPLATE = """\
# Wordle: SFT, RL, evaluation

The pipeline ended: **{status}** after {seconds} seconds.

| step | run | status | seconds |
| --- | --- | --- | --- |
{steps}

## Evaluation

{metrics}

## Curves on W&B

- SFT: {sft_loss}
- RL: {rl_reward}
"""


def read_config(name: str) -> dict[str, Any]:
    """A configuration of this example: "sft", "rl" or "eval"."""
    import yaml

    text = (
        resources.files("tenyson.examples.wordle")
        .joinpath(f"configs/{name}_config.yaml")
        .read_text(encoding="utf-8")
    )
    config: dict[str, Any] = yaml.safe_load(text)
    return config


def main(
    cloud: Any,
    *,
    configs: dict[str, dict[str, Any]] | None = None,
    report: str | Path = "final_report.md",
    on_failure: str = "wait",
) -> Path:
    """Run the three jobs through `cloud`, anything with `run(job)`, and write the report.

    `configs`: by step label, in place of the files under configs/. The report is written in failure too.
    """
    configs = configs or {name: read_config(name) for name in ("sft", "rl", "eval")}
    tasks = {
        name: WordleTask(**(config.get("task") or {}).get("args", {})) for name, config in configs.items()
    }
    outcome = run_pipeline(
        [
            Step("sft", configs["sft"], SFTJob, tasks["sft"]),
            Step("rl", configs["rl"], RLJob, tasks["rl"], model_from="sft"),
            Step("eval", configs["eval"], EvalJob, tasks["eval"], model_from="rl"),
        ],
        cloud,
        on_failure=on_failure,  # type: ignore[arg-type]
    )
    results = outcome.results
    measured = results["eval"].metrics if "eval" in results else {}
    builder = ReportBuilder(TEMPLATE).fill(
        {
            "status": outcome.status,
            "seconds": f"{outcome.total_time_seconds:.0f}",
            "steps": "\n".join(
                f"| {label} | {result.run_id} | {result.status} | {result.total_time_seconds:.0f} |"
                for label, result in results.items()
            ),
            "metrics": "\n".join(
                f"- {name}: {value:.4g}" for name, value in measured.items() if value is not None
            )
            or "The evaluation was not reached.",
        }
    )
    for placeholder, label, metric in (("sft_loss", "sft", "loss"), ("rl_reward", "rl", "reward")):
        url = results[label].wandb_url if label in results else None
        if url:
            builder.attach_wandb_scalar_link(placeholder, url, metric)
        else:
            builder.fill({placeholder: "not sent to W&B"})
    return builder.write(report)
