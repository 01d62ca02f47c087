"""The standard streams, so that printing never decides anything: a reader that leaves, a full disk, an odd locale.

`say` is how library code prints a notice. `standard_streams` replaces the streams of a whole process, for what other
libraries and the user's own code print.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import io
import os
import stat
import sys
from collections.abc import Iterator
from typing import IO, TextIO, cast

_results: TextIO | None = None
"""Where results are printed while everything else that is printed on stdout goes to stderr."""


class OutputError(SystemExit):
    """Standard output took no more, of a command whose whole purpose is to print.

    It is no OSError, so that nobody takes it for a failure of a file, a database or a machine.
    """

    def __init__(self, reason: str, *, reader_left: bool) -> None:
        super().__init__(0 if reader_left else 2)
        self.reason = reason
        self.reader_left = reader_left


def say(text: str, *, stream: IO[str] | None = None, end: str = "\n") -> None:
    """Print a line on stderr (or `stream`). Never raises; what the encoding lacks is replaced."""
    stream = sys.stderr if stream is None else stream
    if stream is None:
        return
    line = text + end
    # A stream may be anybody's object (a notebook's, a test's), and a signal may come in the midst of a line.
    with contextlib.suppress(Exception):
        try:
            stream.write(line)
        except UnicodeEncodeError:
            encoding = getattr(stream, "encoding", None) or "ascii"
            stream.write(line.encode(encoding, "replace").decode(encoding))
        stream.flush()


class LossyStream(io.TextIOBase):
    """A stream for libraries that print by themselves: it drops what cannot be printed, and never raises."""

    def __init__(self, stream: TextIO | None) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str) -> int:
        """Like `say`, without the line's end."""
        if self._stream is not None:
            say(text, stream=self._stream, end="")
        return len(text)

    def flush(self) -> None:
        """Nothing is kept back."""

    def isatty(self) -> bool:
        """As the stream underneath."""
        return is_terminal(self._stream)

    def fileno(self) -> int:
        """As the stream underneath. Raises: OSError: it has none."""
        if self._stream is None:
            raise OSError(errno.EBADF, "no stream")
        return self._stream.fileno()

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """As the stream underneath."""
        return getattr(self._stream, "encoding", None) or "utf-8"


def is_terminal(stream: IO[str] | None) -> bool:
    """Whether a person sees the stream. A stream that is closed, or missing, is none."""
    try:
        return stream is not None and stream.isatty()
    except (OSError, ValueError):
        return False


def lossy_stderr() -> IO[str]:
    """stderr as a LossyStream, for a rich console."""
    return cast("IO[str]", LossyStream(sys.stderr))


@contextlib.contextmanager
def standard_streams(*, stop_without_reader: bool = False, encoding: str | None = None) -> Iterator[None]:
    """Replace this process's stdout and stderr by streams that raise nothing.

    Streams that are not the process's own (in a test, in a notebook) are left alone.

    Args:
        stop_without_reader: writing to stdout raises OutputError once nobody takes it, which ends a command that prints
            only. Commands that do something drop the output and continue.
        encoding: of both streams; the locale's if not given.
    """
    _occupy_closed_descriptors()
    before = sys.stdout, sys.stderr
    sys.stdout = _guarded(sys.stdout, 1, stop=stop_without_reader, encoding=encoding)
    sys.stderr = _guarded(sys.stderr, 2, stop=False, encoding=encoding)
    try:
        yield
        # What is still buffered is printed here, where an error can be told.
        sys.stdout.flush()
        if isinstance(sys.stdout, _GuardedText) and sys.stdout.raw.lost:
            say(f"warning: not all of standard output could be written: {sys.stdout.raw.lost}")
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OutputError, ValueError):
                stream.flush()
        sys.stdout, sys.stderr = before


@contextlib.contextmanager
def results_only() -> Iterator[None]:
    """Keep stdout for `print_result`: whatever else prints there, a task or a library, reaches stderr meanwhile."""
    global _results
    outer, stdout, kept = _results, sys.stdout, None
    if _is_own(sys.stdout, 1):
        # Also for what is printed beneath Python: a native library, a subprocess of the task.
        sys.stdout.flush()
        kept = os.dup(1)
        os.dup2(2, 1)
        stop = isinstance(sys.stdout, _GuardedText) and sys.stdout.raw.stop
        _results = _text(_GuardedFile(kept, stop=stop), sys.stdout.encoding, line_buffering=False)
    else:
        _results = sys.stdout
    sys.stdout = sys.stderr
    try:
        yield
        if kept is not None:
            _results.flush()
    finally:
        results, _results, sys.stdout = _results, outer, stdout
        if kept is not None:
            with contextlib.suppress(OutputError):
                results.flush()
            os.dup2(kept, 1)
            os.close(kept)


def print_result(text: str) -> None:
    """Print a command's result, such as its JSON, on the real stdout."""
    stream = _results or sys.stdout
    if stream is not None:
        stream.write(text + "\n")
        stream.flush()


class _GuardedFile(io.FileIO):
    """A descriptor whose write errors do not surface as OSError."""

    def __init__(self, descriptor: int, *, stop: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.stop = stop
        self.lost = ""
        """Why output was dropped, other than that its reader left."""
        self._over = False

    def write(self, data: object) -> int:
        size = len(memoryview(data))  # type: ignore[arg-type]
        if self._over:
            return size
        try:
            written = super().write(data)  # type: ignore[arg-type]
        except OSError as error:
            left, reason = self._reader_left(error), error.strerror or str(error)
            # A full disk may have room again later; a reader that left does not come back.
            self._over = self.stop or left
            if self.stop:
                raise OutputError(reason, reader_left=left) from None
            self.lost = self.lost or ("" if left else reason)
            return size
        # None: a pipe that somebody has set to non-blocking is full. Waiting for it could take for ever.
        return size if written is None else written

    def _reader_left(self, error: OSError) -> bool:
        """EIO is what a terminal answers that was closed, and what a disk answers that breaks."""
        if error.errno != errno.EIO:
            return error.errno in (errno.EPIPE, errno.ECONNRESET)
        return stat.S_ISCHR(os.fstat(self.fileno()).st_mode)


class _GuardedText(io.TextIOWrapper):
    """A text stream over a _GuardedFile. What the encoding lacks is replaced."""

    raw: _GuardedFile
    ascii = False

    def write(self, text: str) -> int:
        if self.ascii:
            text = text.encode("ascii", "replace").decode("ascii")
        return super().write(text)


def _guarded(stream: TextIO | None, descriptor: int, *, stop: bool, encoding: str | None) -> TextIO:
    if stream is None:
        # Closed from the beginning (`>&-`).
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123
    if not _is_own(stream, descriptor):
        return stream
    with contextlib.suppress(OSError, ValueError):
        stream.flush()
    by_line = descriptor == 2 or is_terminal(stream)
    unbuffered = bool(getattr(stream, "write_through", False))  # PYTHONUNBUFFERED, or -u
    raw = _GuardedFile(descriptor, stop=stop)
    return _text(raw, encoding or stream.encoding, line_buffering=by_line, unbuffered=unbuffered)


def _text(
    raw: _GuardedFile, encoding: str, *, line_buffering: bool, unbuffered: bool = False
) -> _GuardedText:
    only_ascii = codecs.lookup(encoding).name == "ascii"
    # click writes UTF-8 past a stream that says it is ASCII, so that this one calls itself by the next larger set.
    text = _GuardedText(
        raw if unbuffered else io.BufferedWriter(raw),
        encoding="latin-1" if only_ascii else encoding,
        errors="replace",
        line_buffering=line_buffering,
        write_through=unbuffered,
    )
    text.raw, text.ascii = raw, only_ascii
    return text


def _is_own(stream: TextIO | None, descriptor: int) -> bool:
    try:
        return stream is not None and stream.fileno() == descriptor
    except (OSError, ValueError, AttributeError):
        return False


def _occupy_closed_descriptors() -> None:
    """Else the next file that is opened becomes stdout or stderr, and a child process prints into it."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


def binary_stdout() -> IO[bytes]:
    """Standard output for a command whose result is a file's contents: it raises OutputError once nobody takes it."""
    stream = sys.stdout
    stream.flush()
    if _is_own(stream, 1):
        return io.BufferedWriter(_GuardedFile(1, stop=True))
    buffer: IO[bytes] = stream.buffer
    return buffer
