"""How steps chain: `run_pipeline`, and the presets that `tenyson run` runs through it."""

from tenyson.pipeline.policy import FailurePolicy
from tenyson.pipeline.result import PipelineResult
from tenyson.pipeline.run import run_pipeline
from tenyson.pipeline.step import Step

__all__ = ["FailurePolicy", "PipelineResult", "Step", "run_pipeline"]
