"""The answer to a poll: a tar stream that a machine sends, taken member by member.

Whoever is root there can send anything. A member that does not fit what was listed and asked for is left out and counted; a stream that
is no answer at all is an OddAnswerError. No member makes a link, a device or a hole, and none names a place.
"""

from __future__ import annotations

import struct
import tarfile
from collections.abc import Callable
from typing import IO, Any, Self

from tenyson.cloud.remote.mirror import Mirror, Seen
from tenyson.cloud.remote.outputs import MOST_JSON_BYTES, OddAnswerError, parse, sums_of

HEADERS = (
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
)  # fmt: skip
MOST_HEADER_BYTES = 64 << 10
"""Of an extended header, which is read whole."""
MOST_MEMBERS = 1_000_000
UNREADABLE = (
    tarfile.TarError, ValueError, OverflowError, RecursionError, EOFError, KeyError, IndexError, TypeError,
    AttributeError, struct.error,
)  # fmt: skip
"""What tarfile raises over bytes that are no tar."""


class _Member(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        member = super().frombuf(buf, encoding, errors)
        if member.type in HEADERS:
            if member.size > MOST_HEADER_BYTES:
                raise tarfile.ReadError("a header is longer than any that is needed")
        elif member.type == tarfile.GNUTYPE_SPARSE:
            raise tarfile.ReadError("a file has holes")
        return member


def take(stream: IO[bytes], mirror: Mirror, finish: Callable[[], None]) -> Seen:
    """Read an answer to its end. `finish` raises where the command behind it failed.

    Raises: OddAnswerError: it is no answer. UnreachableError, CommandError; OSError: it cannot be written here.
    """
    reader = _Reader(mirror)
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 18, tarinfo=_Member) as tar:
            for number, member in enumerate(tar):
                if number > MOST_MEMBERS:
                    raise OddAnswerError("the machine's answer has no end")
                reader.take(tar, member)
    except UNREADABLE as error:
        finish()
        raise OddAnswerError(f"the machine's answer breaks off: {error}") from error
    finish()
    if reader.seen is None or not reader.ended:
        raise OddAnswerError("the machine's answer breaks off")
    return reader.seen


class _Reader:
    """What came so far."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.seen: Seen | None = None
        self.ended = False
        self._asked: dict[str, int] = {}
        """Files that are expected, each with the byte from which on."""

    def take(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        odd = self._mirror.odd
        if not member.isreg() or member.sparse is not None or member.size < 0:
            odd.note("a link, device, folder or hole in the stream", member.name)
            return
        data = tar.extractfile(member)
        assert data is not None
        match member.name:
            case "state.json":
                self.seen = Seen.of(parse(data.read(MOST_JSON_BYTES + 1)), odd)
                self._asked = dict(self._mirror.missing(self.seen.files))
            case "sums.json" if self.seen is not None:
                self.seen.sums = sums_of(parse(data.read(MOST_JSON_BYTES + 1)), self.seen.files)
            case "log" if self._begin(member) == self._mirror.log_size():
                self._mirror.append_log(data, member.size)
            case "file":
                self._take_file(member, data)
            case "busy":
                pass
            case "end":
                self.ended = True
            case _:
                odd.note("a member of the stream that was not asked for", member.name)

    def _take_file(self, member: tarfile.TarInfo, data: IO[bytes]) -> None:
        path = member.pax_headers.get("TENYSON.path", "")
        files: dict[str, Any] = {} if self.seen is None else self.seen.files
        begin = self._asked.pop(path, None)
        if begin is None:
            # One that is left out of the list has been counted there.
            if self.seen is None or path not in self.seen.left_out:
                self._mirror.odd.note("a file that was not asked for", path)
            return
        size, modified = files[path]
        # Of a file that changes meanwhile, the list is older: the next poll finds it.
        if self._begin(member) != begin or member.size != size - begin:
            self._mirror.odd.note("a file that is not as it was listed", path)
            return
        try:
            self._mirror.take(path, begin, member.size, modified, data)
        except (IsADirectoryError, NotADirectoryError, FileExistsError):
            self._mirror.odd.note("a file where a folder is, or a folder where a file is", path)
            del files[path]

    @staticmethod
    def _begin(member: tarfile.TarInfo) -> int:
        text = member.pax_headers.get("TENYSON.begin", "")
        return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
