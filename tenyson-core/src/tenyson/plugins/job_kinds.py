"""Which kinds of job are installed, by name, and their classes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from tenyson.errors import PluginError, UnknownPluginError
from tenyson.plugins.job_kind import LONGEST_PHASE, JobKind
from tenyson.plugins.manager import PluginManager

if TYPE_CHECKING:
    from tenyson.jobs.job import Job


def job_kind(name: str) -> JobKind:
    """The kind of job called `name`.

    Raises: UnknownPluginError with the nearest names, DuplicatePluginError, BrokenPluginError.
    """
    return _installed(os.environ.get("TENYSON_PLUGINS"), tuple(sys.path)).find(name)


def recorded_kind(name: str) -> JobKind:
    """As `job_kind`, for readers of records: for a kind that is not installed here, one with a training's defaults."""
    try:
        return job_kind(name)
    except PluginError:
        return JobKind(name="", summary="not installed here", load="", phase=name[:LONGEST_PHASE])


def job_class(name: str) -> type[Job]:
    """SFTJob, RLJob, EvalJob, or the class that a plugin provides. Importing core's needs no torch.

    Raises: UnknownPluginError, DuplicatePluginError, BrokenPluginError.
    """
    return cast("type[Job]", PluginManager().load(job_kind(name)))


class JobKinds(Mapping[str, JobKind]):
    """All kinds by name, looked up on use: core's first, then by name. Those of broken plugins are left out."""

    def __getitem__(self, name: str) -> JobKind:
        """Raises: KeyError; DuplicatePluginError, BrokenPluginError."""
        try:
            return job_kind(name)
        except UnknownPluginError as error:
            raise KeyError(name) from error

    def __iter__(self) -> Iterator[str]:
        found = _installed(os.environ.get("TENYSON_PLUGINS"), tuple(sys.path)).all()
        return iter(dict.fromkeys(kind.name for kind in found))

    def __len__(self) -> int:
        return sum(1 for _ in self)


JOB_KINDS = JobKinds()


class _Installed:
    """Kinds of one search path and allow-list, kept: reports and plans ask for the same few again and again."""

    def __init__(self) -> None:
        self._plugins = PluginManager()
        self._found: dict[str, JobKind] = {}

    def find(self, name: str) -> JobKind:
        if name not in self._found:
            self._found[name] = cast(JobKind, self._plugins.find("job", name))
        return self._found[name]

    def all(self) -> list[JobKind]:
        return cast(list[JobKind], self._plugins.all("job"))


@lru_cache(maxsize=4)
def _installed(_allowed: str | None, _path: tuple[str, ...]) -> _Installed:
    return _Installed()
