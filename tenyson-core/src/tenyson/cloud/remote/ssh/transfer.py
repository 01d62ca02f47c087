"""Transfer: files to the machine and back, as tar streams through one command each, so that many small files cost little."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path

from tenyson.cloud.remote.mirror import Mirror, Seen
from tenyson.cloud.remote.outputs import EXPECTED
from tenyson.cloud.remote.ssh.answer import take
from tenyson.cloud.remote.ssh.connection import Connection

HOME = "/opt/tenyson"
"""Of everything of ours on the machine but the job's own files."""
TOOLS = f"{HOME}/tools"
RECEIVE = """
mkdir -p /run/tenyson
while sleep 1; do touch /run/tenyson/alive; done </dev/null >/dev/null 2>&1 &
busy=$!
tar -x --no-same-owner -f - -C /
code=$?
kill $busy
exit $code
"""
"""Unpacks a tar stream; a machine that receives is not idle. What runs beside it must not hold the connection's end open."""
TRANSFER_SECONDS = 120.0
"""The longest pause of a transfer."""
MOST_BYTES = 256 << 20
"""Of one poll while a job runs: beyond, further files wait for the next one, and the log comes in between."""


def send(connection: Connection, entries: Iterable[tuple[Path, str]]) -> None:
    """Files and folders from here to absolute paths there. Raises: UnreachableError, CommandError."""

    def fill(tar: tarfile.TarFile) -> None:
        for path, name in entries:
            tar.add(path, name.lstrip("/"), filter=_anonymous)

    _send(connection, fill)


def send_texts(connection: Connection, texts: Mapping[str, str]) -> None:
    """Small texts to absolute paths there. Raises: UnreachableError, CommandError."""

    def fill(tar: tarfile.TarFile) -> None:
        for name, text in texts.items():
            data = text.encode()
            entry = tarfile.TarInfo(name.lstrip("/"))
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))

    _send(connection, fill)


def _send(connection: Connection, fill: Callable[[tarfile.TarFile], None]) -> None:
    def write(stream: io.RawIOBase) -> None:
        with (
            io.BufferedWriter(stream, 1 << 18) as buffered,
            tarfile.open(fileobj=buffered, mode="w|", bufsize=1 << 18, format=tarfile.PAX_FORMAT) as tar,
        ):
            fill(tar)

    connection.feed(["sh", "-c", RECEIVE], write, seconds=TRANSFER_SECONDS)


def send_tools(connection: Connection) -> None:
    """What a poll needs; process.py among them, so that one file says what a process is."""
    tools = {
        "install.sh": "tenyson.cloud.remote.ssh.machine",
        "poll.py": "tenyson.cloud.remote",
        "process.py": "tenyson.cloud.local",
    }
    send_texts(
        connection,
        {
            f"{TOOLS}/{name}": files(home).joinpath(name).read_text(encoding="utf-8")
            for name, home in tools.items()
        },
    )


def _anonymous(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    entry.mtime = int(entry.mtime)  # a fraction would cost each file a header of its own
    return entry


def poll(
    connection: Connection,
    mirror: Mirror,
    there: str,
    *,
    control: Iterable[str] = (),
    final: bool = False,
    most: int = MOST_BYTES,
) -> Seen:
    """Fetch what is new in the folder `there`.

    Raises: UnreachableError, CommandError; OddAnswerError: what came is no answer; OSError: it cannot be written here.
    """
    request = {
        "folder": there,
        "log_from": mirror.log_size(),
        "known": mirror.known,
        "control": list(control),
        "final": final,
        "without": [*mirror.without, *EXPECTED],
        "most": most,
    }
    stream = connection.stream(
        ["python3", f"{TOOLS}/poll.py"], send=json.dumps(request).encode(), seconds=TRANSFER_SECONDS
    )
    with mirror.remembering():
        seen = take(io.BufferedReader(stream, 1 << 18), mirror, stream.finish)
    return mirror.settle(seen)
