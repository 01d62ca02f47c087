"""The former path of `tenyson.jobs.preflight.job_checks`, which kinds of job of plugins may name."""

from tenyson.jobs.preflight.job_checks import (
    EvalPreflight,
    Examined,
    Preflight,
    RLPreflight,
    SFTPreflight,
)

__all__ = ["EvalPreflight", "Examined", "Preflight", "RLPreflight", "SFTPreflight"]
