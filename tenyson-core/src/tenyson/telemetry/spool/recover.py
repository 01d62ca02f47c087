"""Recovery: stores what dead processes left in their spools, in the order in which their attempts began.

Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from tenyson.telemetry.spool.shipper import Shipper
from tenyson.telemetry.spool.spool import Spool, find_spools

KILLED = "its process ended and did not report how"


@dataclass(frozen=True)
class Recovered:
    """What became of one spool."""

    spool: Spool
    events: int
    """Events that were stored now; those that the database had already are not counted."""
    torn_bytes: int
    """Bytes at the end that are no whole record: the batch that was being written when the process died."""
    refused: int
    """Events that the database does not take."""
    refusal: str | None
    ended: bool
    """Whether the attempt was marked as failed now, since nothing said how it ended."""
    elsewhere: bool = False
    """Whether its writer, or another recovery, has stored and deleted it meanwhile."""


def recover(
    engine: Engine,
    run_dir: Path,
    *,
    pack: Callable[[str], Any] | None = None,
    keep: bool = False,
    run_id: str | None = None,
) -> list[Recovered]:
    """Store and delete the spools of a run's folder whose writers are dead. `keep` leaves the files. `run_id`: a machine brought
    them, and only those that speak of this run are stored.

    Raises: SQLAlchemyError, OSError: the database or a file failed on the way; another call resumes from there.
    """
    return [
        recover_spool(engine, spool, pack=pack, keep=keep, foreign=run_id is not None)
        for spool in find_spools(run_dir)
        if run_id in (None, spool.header.run_id) and not spool.is_alive()
    ]


def recover_spool(
    engine: Engine,
    spool: Spool,
    *,
    pack: Callable[[str], Any] | None = None,
    keep: bool = False,
    foreign: bool = False,
) -> Recovered:
    """Store all of one spool; `foreign` as for a shipper. Somebody else may store and delete it at the same time."""
    shipper = Shipper(engine, spool.folder, spool.header, pack=pack, foreign=foreign)
    while not spool.is_gone() and shipper.ship():
        pass
    torn = _torn_bytes(spool, shipper.segment, shipper.position)
    if spool.is_gone():
        # Who deletes a spool has stored all of it, and how the attempt ended.
        return Recovered(spool, shipper.stored, 0, shipper.refused, shipper.refusal, False, elsewhere=True)
    ended = spool.header.rank == 0 and shipper.give_up(KILLED)
    if not keep:
        spool.delete()
    return Recovered(spool, shipper.stored, torn, shipper.refused, shipper.refusal, ended)


def _torn_bytes(spool: Spool, segment: int, position: int) -> int:
    sizes = {}
    for number in spool.segments:
        with contextlib.suppress(FileNotFoundError):  # stored and deleted by somebody else
            sizes[number] = spool.path(number).stat().st_size
    return max(0, sizes.get(segment, 0) - position) + sum(
        size for number, size in sizes.items() if number > segment
    )
