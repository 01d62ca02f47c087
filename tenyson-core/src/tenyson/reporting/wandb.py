"""W&B as a source of numbers: the latest value of a metric of a run, by the public API of wandb."""

from __future__ import annotations

import math

from tenyson.errors import MissingDependencyError, ReportError

TIMEOUT_SECONDS = 10


def latest_value(run_path: str, metric_name: str) -> float | int | str:
    """The metric in the summary of the run `entity/project/run_id`; needs a key where the project is private.

    Raises: MissingDependencyError, ReportError.
    """
    try:
        import wandb
    except ModuleNotFoundError as error:
        if error.name != "wandb":
            raise
        raise MissingDependencyError(
            "wandb", needed_for=f"reading {metric_name} from W&B", install="tenyson-core[wandb]"
        ) from error
    try:
        summary = wandb.Api(timeout=TIMEOUT_SECONDS).run(run_path).summary
        value = summary.get(metric_name)
        known = sorted(name for name in dict(summary) if not name.startswith("_"))
    except Exception as error:
        # wandb raises its own, requests' and plain errors here; all mean that there is no number.
        raise ReportError(
            f"missing: {metric_name} of {run_path} on W&B: {type(error).__name__}: {error}",
            next_step="Is the path entity/project/run_id, and are you logged in (WANDB_API_KEY)?",
        ) from error
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        raise ReportError(
            f"missing: {metric_name} of {run_path} on W&B: the run has no such number",
            next_step=f"It has: {', '.join(known) or 'nothing'}.",
        )
    return value if isinstance(value, (int, float)) else str(value)
