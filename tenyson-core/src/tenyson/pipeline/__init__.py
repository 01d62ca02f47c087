"""How steps chain: `run_pipeline`, and the presets that `tenyson run` runs through it."""

from typing import TYPE_CHECKING

from tenyson.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tenyson.pipeline.graph.policy import FailurePolicy
    from tenyson.pipeline.graph.step import Step
    from tenyson.pipeline.result import PipelineResult
    from tenyson.pipeline.run import run_pipeline

__all__ = [
    "FailurePolicy",
    "PipelineResult",
    "Step",
    "run_pipeline",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "FailurePolicy": "tenyson.pipeline.graph.policy",
            "PipelineResult": "tenyson.pipeline.result",
            "Step": "tenyson.pipeline.graph.step",
            "run_pipeline": "tenyson.pipeline.run",
        },
    )
