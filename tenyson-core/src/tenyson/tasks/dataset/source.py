"""A source: one file, folder or data set of the Hub, as rows with what they say."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.core.files.digest import file_sha256
from tenyson.errors import TaskError
from tenyson.tasks.dataset import hub
from tenyson.tasks.dataset.columns import keeps, select
from tenyson.tasks.dataset.files import Read, files_of, has_bom, read_file
from tenyson.tasks.dataset.formats import FORMATS, Example, common_format, example_of
from tenyson.tasks.dataset.row import Row, RowError

if TYPE_CHECKING:
    from tenyson.tasks.dataset.oddities import Oddities
    from tenyson.tasks.dataset.settings import DatasetSettings, SourceSettings

LOOKED_AT = 200
"""Rows by which a format is recognised."""


class Source:
    """One source of rows.

    Args:
        settings: its own settings. task: those of the task, for what it does not set itself.
        split: of a data set of the Hub, where the source names none.
    """

    def __init__(self, settings: SourceSettings, task: DatasetSettings, split: str = "train") -> None:
        self.settings = settings
        self._task = task
        self._split = settings.split or split
        self._columns = settings.columns if settings.columns is not None else (task.columns or {})

    @property
    def path(self) -> Path | None:
        """Where it is; None for a data set of the Hub."""
        path = Path(self.settings.path)
        return path if path.exists() or not hub.is_name(self.settings.path) else None

    @property
    def label(self) -> str:
        """What it is called in places and metrics."""
        return self.settings.name or (self.settings.path if self.path is None else self.path.name)

    @property
    def weight(self) -> float | None:
        """Its part of a mixture."""
        return self.settings.weight

    def raw_rows(self, oddities: Oddities | None = None) -> Read:
        """Its rows as they are stored. Raises: TaskError: it does not exist or cannot be read."""
        if self.path is None:
            yield from hub.rows(self.settings, self._split, self.label)
            return
        hub.require(self.path)
        files = files_of(self.path)
        for file in files:
            label = self.label if self.path == file else f"{self.label}/{file.relative_to(self.path)}"
            if oddities is not None and has_bom(file):
                oddities.byte_order_mark(label)
            yield from read_file(file, label)

    @cached_property
    def format(self) -> tuple[str, dict[str, str]]:
        """Its format, and the columns of its fields. Raises: TaskError: it cannot be recognised."""
        chosen = self.settings.format or self._task.format
        if chosen is not None and all(one in self._columns for one in FORMATS[chosen].needs):
            return chosen, dict(self._columns)
        head = [one for one in islice(self.raw_rows(), LOOKED_AT) if isinstance(one, Row)]
        mapped, wrong = [], None
        for row in head:
            try:
                mapped.append(select(row, self._columns))
            except RowError as error:
                wrong = wrong or error
        if wrong is not None and not mapped:  # what no row has is wrong with the columns
            raise TaskError(
                wrong.cause,
                place=wrong.place,
                next_step="Look at columns: `tenyson data FILE` shows what there is.",
            )
        if chosen is not None:
            renamed = dict(self._columns)
            if mapped and (found := common_or_none(mapped, self.label)) and found[0] == chosen:
                renamed = found[1] | renamed
            return chosen, renamed
        name, renamed = common_format(mapped, self.label)
        return name, renamed | self._columns

    def examples(self, oddities: Oddities | None = None) -> Iterator[tuple[Row, Example] | RowError]:
        """Rows that its filter keeps, with what they say; errors in the place of rows that cannot be read.

        Raises: TaskError: as `raw_rows` and `format`.
        """
        name, columns = self.format
        system = self._task.system
        for row in self.raw_rows(oddities):
            if isinstance(row, RowError):
                yield row
                continue
            try:
                if keeps(row, self.settings.filter):
                    values = (
                        row.values
                        if row.values.get("system") or not system
                        else {**row.values, "system": system}
                    )
                    whole = select(Row(row.place, values, self.label), columns)
                    yield whole, example_of(whole, name)
            except RowError as error:
                yield error

    def provenance(self) -> dict[str, str]:
        """Names and SHA-256 of its files; the commit of a data set of the Hub."""
        if self.path is None:
            return {self.label: hub.commit(self.settings)}
        hub.require(self.path)
        return {str(file): file_sha256(file) for file in files_of(self.path)}


def common_or_none(rows: list[Row], label: str) -> tuple[str, dict[str, str]] | None:
    """As `common_format`; None where no format is recognised."""
    try:
        return common_format(rows, label)
    except TaskError:
        return None
