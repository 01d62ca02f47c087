"""The kinds of job: sft, rl and eval."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tenyson.jobs.job import Job


def job_class(job_type: str) -> type[Job]:
    """SFTJob, RLJob or EvalJob. Importing one needs no torch."""
    if job_type == "sft":
        from tenyson.jobs.sft import SFTJob

        return SFTJob
    if job_type == "rl":
        from tenyson.jobs.rl import RLJob

        return RLJob
    from tenyson.jobs.eval import EvalJob

    return EvalJob
