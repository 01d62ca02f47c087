"""Process: a child with its three pipes, none of which blocks."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

from tenyson.core.sanitize import one_line, without_controls

KEPT = 20_000
"""Bytes that are kept of what it prints."""
LINE = 300
"""Characters that are told of its last line."""
PIECE = 1 << 16
LAST_SECONDS = 5.0
"""For one that has closed its pipe to end by itself."""


class Process:
    """A child that leads a process group of its own. One thread uses it. Raises: OSError: the program cannot be run."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._popen = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(environment),
            cwd=tempfile.gettempdir(),
            start_new_session=True,
        )
        self.pid = self._popen.pid
        streams = self._popen.stdin, self._popen.stdout, self._popen.stderr
        self.stdin, self.stdout, self.stderr = (one.fileno() for one in streams if one is not None)
        for one in (self.stdin, self.stdout, self.stderr):
            os.set_blocking(one, False)
        self._incoming, self._printed = bytearray(), bytearray()

    def write(self, outgoing: bytearray) -> None:
        """Write some, and remove it from `outgoing`; all of it where nobody reads any more."""
        try:
            written = os.write(self.stdin, outgoing[:PIECE])
        except BlockingIOError:
            return
        except OSError:
            written = len(outgoing)
        del outgoing[:written]

    def close_stdin(self) -> None:
        """Let it end."""
        assert self._popen.stdin is not None
        self._popen.stdin.close()

    def read(self) -> list[bytes] | None:
        """Whole lines of its answers, as far as they have come; None: no more will come."""
        piece = _piece(self.stdout)
        if not piece:
            return None if piece == b"" else []
        self._incoming += piece
        if b"\n" not in piece:
            return []
        *lines, rest = bytes(self._incoming).split(b"\n")
        self._incoming = bytearray(rest)
        return lines

    @property
    def unfinished(self) -> int:
        """Bytes of the line that is not complete."""
        return len(self._incoming)

    def listen(self) -> bool:
        """Keep the end of what it prints. Returns: whether there may be more."""
        piece = _piece(self.stderr)
        self._keep(piece or b"")
        return piece != b""

    def _keep(self, piece: bytes) -> None:
        self._printed += piece
        del self._printed[:-KEPT]

    @property
    def output(self) -> str:
        """The end of what it has printed."""
        return without_controls(self._printed.decode(errors="replace")).strip()

    @property
    def last_line(self) -> str:
        """The last line that it has printed; "" if nothing."""
        return one_line(self.output.rpartition("\n")[2], LINE)

    def has_ended(self) -> bool:
        """Whether it has."""
        return self._popen.poll() is not None

    def end(self, patience: float) -> str:
        """Wait for its end, then end what is left of its group. Returns: how it ended, for a sentence about it."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._popen.wait(patience)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._popen.wait()
        left = KEPT  # what it has forked may print for ever
        while left > 0 and (piece := _piece(self.stderr)):
            self._keep(piece)
            left -= len(piece)
        for one in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            assert one is not None
            with contextlib.suppress(OSError):
                one.close()
        return f"ended with code {code}" if code >= 0 else f"was ended by {_name(-code)}"


def _piece(descriptor: int) -> bytes | None:
    """What is there to read; b"" at the end, None where nothing has come yet."""
    try:
        return os.read(descriptor, PIECE)
    except BlockingIOError:
        return None


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
