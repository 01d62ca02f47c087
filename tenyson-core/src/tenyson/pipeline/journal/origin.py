"""Origin: where a pipeline was begun: in which folder, on which machine, and where its journal's file is in that folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tenyson.cloud.local.host import this_host

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal

NONCE = "nonce"
"""In a pipeline's row, and in the lock of its folder."""


@dataclass(frozen=True)
class Origin:
    """Rows of earlier releases lack some of it."""

    folder: Path | None = None
    """The project, to which the pipeline's paths are relative."""
    machine: Mapping[str, Any] | None = None
    """As `tenyson.cloud.local.host.this_host` describes it; the earliest rows have the `host` alone."""
    journal: Path | None = None
    """The journal's file, relative to `folder`; None where it is outside, or a server."""
    knows_journal: bool = True
    """Whether the row says where the journal was."""
    nonce: str = ""
    """Tells the pipeline from others of its name."""

    @classmethod
    def here(cls, journal: Journal) -> Self:
        """Of a pipeline that begins now, in this process's folder."""
        file, root = journal.file, Path.cwd()
        inside = file is not None and file.is_relative_to(root.resolve())
        return cls(
            root, this_host(), file.relative_to(root.resolve()) if file is not None and inside else None
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-safe data, under the keys that the journal has always had."""
        machine = self.machine or {}
        return {
            "host": machine.get("host"), "machine": self.machine, "cwd": str(self.folder),
            "journal": None if self.journal is None else str(self.journal),
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """From a pipeline's row, of this release or an earlier one."""
        folder, inside = data.get("cwd"), data.get("journal")
        return cls(
            None if folder is None else Path(folder),
            data.get("machine") or ({"host": data["host"]} if "host" in data else None),
            None if inside is None else Path(inside),
            "journal" in data,
            data.get(NONCE) or "",
        )
