"""Hand-over: a step starts from the model or adapter that an earlier step trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tenyson.core.run_folder import RunFolder
from tenyson.errors import ModelError
from tenyson.jobs.checkpoints.publication import check, newest_first
from tenyson.jobs.result import JobResult

Trained = Literal["adapter", "model"]
_BASE_KEYS = ("name", "revision", "factory", "factory_args")


def expected_kind(config: Mapping[str, Any]) -> Trained:
    """What a training step with this configuration will leave: an adapter, or a full model."""
    return (
        "adapter" if config.get("peft") is not None or (config.get("model") or {}).get("adapter") else "model"
    )


def start_from(
    config: Mapping[str, Any], source: Mapping[str, Any], place: Path, kind: Trained
) -> dict[str, Any]:
    """`config` with the adapter or the model that the step configured by `source` left at `place`.

    An adapter is used with the base of its own step; a full model replaces the base.
    """
    own = dict(config.get("model") or {})
    for key in (*_BASE_KEYS, "adapter"):
        own.pop(key, None)
    if kind == "adapter":
        theirs = source.get("model") or {}
        base = {key: theirs[key] for key in _BASE_KEYS if theirs.get(key) is not None}
        return {**config, "model": {**own, **base, "adapter": str(place)}}
    return {**config, "model": {**own, "name": str(place)}}


def start_from_result(
    config: Mapping[str, Any], source: Mapping[str, Any], label: str, result: JobResult | None
) -> dict[str, Any]:
    """As `start_from`, by what the earlier step `label` really left; of one that did not come to its end, its newest checkpoint.

    Raises:
        ModelError: it left neither an adapter, nor a model, nor a whole checkpoint.
    """
    folder = Path(result.local_output_dir) if result is not None and result.local_output_dir else None
    for kind in ("adapter", "model"):
        if folder is not None and (folder / kind).is_dir():
            return start_from(config, source, folder / kind, kind)
    for checkpoint in newest_first(RunFolder(folder).checkpoints) if folder is not None else ():
        if check(checkpoint) is None:
            left: Trained = "adapter" if (checkpoint / "adapter_config.json").is_file() else "model"
            return start_from(config, source, checkpoint, left)
    raise ModelError(
        f"the step {label!r} left no model to start from",
        place=str(folder) if folder else None,
        next_step="An evaluation trains nothing, and a failed step may have saved nothing.",
    )
