"""The run that a command takes further, and what it has trained."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tenyson.cli.runs.records import Record
from tenyson.core.run_folder import RunFolder
from tenyson.errors import ModelError


@dataclass(frozen=True)
class Trained:
    """A run with its folder, which is on this machine."""

    record: Record
    folder: RunFolder
    weights: Path
    """Its adapter/ or model/."""

    @property
    def is_adapter(self) -> bool:
        """Whether it is an adapter, and no whole model."""
        return self.weights == self.folder.adapter


def find_trained(run: str, db_url: str | None, output_dir: Path) -> Trained:
    """By the run's name, the beginning of it, or "latest".

    Raises:
        TelemetryError: nobody knows the run.
        ModelError: it has trained nothing, or its folder is elsewhere.
    """
    from tenyson.cli.runs.find import read_record

    record = read_record(run, db_url, output_dir)
    folder = RunFolder(Path(record.folder))
    for weights in (folder.adapter, folder.model):
        if weights.is_dir():
            return Trained(record, folder, weights)
    if not folder.path.is_dir():
        raise ModelError(f"the folder of run {record.run_id} is not on this machine", place=str(folder.path))
    raise ModelError(
        f"the run {record.run_id} ({record.job}) has trained no model",
        place=str(folder.path),
        next_step="Give a run that has ended with a model or an adapter; `tenyson runs` lists them.",
    )
