"""What runs: SFTJob, RLJob, EvalJob, DPOJob, and the JobResult they return.

`tenyson.plugins.builtin` registers the kinds of job. `dpo` is the pattern for another: its parts begin with `dpo_` in trainers,
preflight, models and config/checks.
"""

from typing import TYPE_CHECKING

from tenyson.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tenyson.jobs.dpo import DPOJob
    from tenyson.jobs.eval import EvalJob
    from tenyson.jobs.result import JobResult
    from tenyson.jobs.rl import RLJob
    from tenyson.jobs.sft import SFTJob
    from tenyson.jobs.spec import JobSpec

__all__ = [
    "DPOJob",
    "EvalJob",
    "JobResult",
    "JobSpec",
    "RLJob",
    "SFTJob",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "DPOJob": "tenyson.jobs.dpo",
            "EvalJob": "tenyson.jobs.eval",
            "JobResult": "tenyson.jobs.result",
            "JobSpec": "tenyson.jobs.spec",
            "RLJob": "tenyson.jobs.rl",
            "SFTJob": "tenyson.jobs.sft",
        },
    )
