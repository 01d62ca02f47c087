"""Models on the command line: a directory, a name of the Hub, "module:function", or an earlier run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenyson.cli.dataset.document import LocalPath
from tenyson.core.run_folder import RunFolder
from tenyson.errors import ModelError


def model_section(given: str, output_dir: Path) -> dict[str, Any]:
    """The section `model` of a configuration. Raises: ModelError: an earlier run left no model."""
    folder = output_dir / given
    if RunFolder(folder).config.is_file():
        return _of_run(given, folder)
    if Path(given).expanduser().is_dir():
        return {"name": LocalPath(given)}
    if ":" in given:
        return {"factory": given}
    return {"name": given}


def run_config(given: str, output_dir: Path) -> Mapping[str, Any] | None:
    """The configuration of the earlier run that a name means; None where it means something else."""
    from tenyson.config.reading import read_document

    path = RunFolder(output_dir / given).config
    return read_document(path).data if path.is_file() else None


def _of_run(given: str, folder: Path) -> dict[str, Any]:
    from tenyson.config.reading import read_document

    config = read_document(RunFolder(folder).config).data
    model = config.get("model") or {}
    if (folder / "adapter").is_dir():
        base = {key: model[key] for key in ("name", "revision", "factory", "factory_args") if model.get(key)}
        if Path(str(base.get("name", ""))).is_dir():
            base["name"] = LocalPath(base["name"])
        return {**base, "adapter": LocalPath(folder / "adapter")}
    if (folder / "model").is_dir():
        return {"name": LocalPath(folder / "model")}
    raise ModelError(
        f"the run {given} left no model",
        place=str(folder),
        next_step=f"`tenyson show {given}` says how it ended.",
    )
