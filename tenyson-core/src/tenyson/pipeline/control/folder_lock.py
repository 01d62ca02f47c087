"""The folder's lock: of two pipelines of one name in two databases, one works in their folder at a time.

The lease (`tenyson.pipeline.journal.lease`) keeps two controllers from one pipeline of one journal. Those of another journal do not see it,
and have the same folders all the same.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.errors import PipelineBusyError, PipelineError
from tenyson.pipeline.journal.origin import NONCE

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal
    from tenyson.pipeline.journal.records import PipelineRecord

NAME = ".controller.lock"
_NAME_SECONDS = 1.0


@contextlib.contextmanager
def folder_lock(journal: Journal, record: PipelineRecord, directory: Path) -> Iterator[None]:
    """Hold `directory` for this pipeline. A controller of the same one that holds it is the lease's business: it may be stuck.

    Raises:
        PipelineBusyError: a controller of another journal works there.
        PipelineError: the folder cannot be made.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(directory / NAME, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise PipelineError(
            f"the pipeline's folder cannot be used: {error.strerror}", place=str(directory)
        ) from error
    try:
        _take(descriptor, journal, record, directory)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, journal: Journal, record: PipelineRecord, directory: Path) -> None:
    own = record.origin.nonce
    # Who has just taken it has not yet written its name there.
    deadline = time.monotonic() + _NAME_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError as error:
            if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                return  # a file system without locks
        holder = _holder(descriptor)
        if NONCE in holder and holder[NONCE] == own:
            return
        if time.monotonic() > deadline:
            raise PipelineBusyError(
                f"process {holder.get('pid', '?')} works on a pipeline {record.id} of another database here "
                f"({holder.get('database', 'unknown')})",
                place=str(directory),
                next_step="Wait for its end, or give this one another --run-id or --output-dir.",
            )
        time.sleep(0.05)
    database = journal.engine.url.render_as_string(hide_password=True)
    name = json.dumps({"pid": os.getpid(), NONCE: own, "database": database}).encode()
    os.pwrite(descriptor, name, 0)
    os.ftruncate(descriptor, len(name))


def _holder(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
