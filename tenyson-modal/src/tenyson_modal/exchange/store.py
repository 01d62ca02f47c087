"""The store: a run's folder in the Modal volume, as it is seen from here."""

from __future__ import annotations

import io
import tempfile
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from tenyson.cloud.remote.mirror import Mirror, Seen
from tenyson.cloud.remote.outputs import MOST_JSON_BYTES, exit_of, files_of, parse, sums_of
from tenyson_modal.api.failures import explained, modal_errors
from tenyson_modal.api.naming import INPUTS, INTERNAL
from tenyson_modal.exchange.state import checked

BLOCK_SECONDS = 60.0
"""For one block of a file, of at most 8 MiB."""
SPOOLED_BYTES = 8 << 20


class Store:
    """Reads and fills the volume, for the attempt that `key` names. Every call raises ModalError where Modal refuses or does not answer."""

    def __init__(self, volume: str, environment: str | None, run_id: str, key: str) -> None:
        import modal

        self.run_id = run_id
        self._internal = f"{run_id}/{INTERNAL}/{key}"
        self._volume = modal.Volume.from_name(
            volume, environment_name=environment, create_if_missing=True, version=2
        )

    def state(self) -> dict[str, Any] | None:
        """What the container wrote last, as far as it can be used; None before it began. Raises: OddAnswerError."""
        data = self._read_small(f"{self._internal}/state.json")
        return checked(parse(data)) if data else None

    def fetch(self, mirror: Mirror, state: dict[str, Any]) -> Seen:
        """Fetch what is new of what a state lists. Raises: OddAnswerError; OSError: it cannot be written here."""
        files = {
            path: known
            for path, known in files_of(state["files"], mirror.odd).items()
            if not path.startswith(tuple(f"{name}/" for name in mirror.without))
        }
        seen = Seen(
            "ended" if state["state"] == "ended" else "running",
            exit_of(state.get("exit"), mirror.odd),
            files,
            sums_of(state.get("sums") or {}, files),
        )
        with mirror.remembering():
            for path, begin in list(mirror.missing(files)):
                size, modified = files[path]
                start = state["starts"].get(path, 0)
                mirror.require_room(size - begin)
                with tempfile.SpooledTemporaryFile(SPOOLED_BYTES) as data:
                    if not self._fetch(f"{self.run_id}/{path}", start + begin, size - begin, data):
                        continue  # gone since, or not whole: the next state tells
                    try:
                        mirror.take(path, begin, size - begin, modified, data)
                    except (IsADirectoryError, NotADirectoryError, FileExistsError):
                        mirror.odd.note("a file where a folder is, or a folder where a file is", path)
                        del files[path]
            return mirror.settle(seen)

    def send(self, paths: Iterable[Path]) -> None:
        """Upload the job's input files. Existing blocks are not sent again: Modal knows them by their sums."""
        try:
            with self._volume.batch_upload(force=True) as batch:
                for path in paths:
                    there = f"/{self._internal}/{INPUTS}{path}"
                    put = batch.put_directory if path.is_dir() else batch.put_file
                    put(str(path), there)
        except modal_errors() as error:
            raise explained(error, "the job's files cannot be sent to the volume") from error

    def write(self, name: str, text: str) -> None:
        """A small file of the attempt."""
        try:
            with self._volume.batch_upload(force=True) as batch:
                batch.put_file(io.BytesIO(text.encode()), f"/{self._internal}/{name}")
        except modal_errors() as error:
            raise explained(error, "the volume cannot be written") from error

    def read(self, name: str) -> str | None:
        """A small file of the attempt; None where there is none."""
        data = self._read_small(f"{self._internal}/{name}")
        return data.decode("utf-8", "replace") if data else None

    def drop_inputs(self) -> None:
        """The attempt is over: what it was sent is of no use any more."""
        try:
            self._volume.remove_file(f"{self._internal}/{INPUTS}", recursive=True)
        except FileNotFoundError:
            return
        except modal_errors() as error:
            raise explained(error, "the volume cannot be tidied") from error

    def _read_small(self, path: str) -> bytes:
        """Of a file that is read whole; one that is too large is cut, and no JSON then."""
        data = b""
        for chunk in self._read(path):
            data += chunk
            if len(data) > MOST_JSON_BYTES:
                break
        return data

    def _fetch(self, path: str, begin: int, size: int, into: IO[bytes]) -> bool:
        """Exactly these bytes, or False."""
        left = size
        for chunk in self._read(path, begin, size):
            into.write(chunk[:left])
            left -= len(chunk[:left])
        into.seek(0)
        return left == 0

    def _read(self, path: str, begin: int = 0, size: int | None = None) -> Iterator[bytes]:
        """Of a file of the volume; nothing where there is none."""
        if size == 0:
            return
        try:
            urls, start = _block_addresses(self._volume, path, begin, size)
            skip = begin - start  # blocks may begin earlier than asked for
            for url in urls:
                with urllib.request.urlopen(url, timeout=BLOCK_SECONDS) as answer:
                    data: bytes = answer.read()
                yield data[skip:]
                skip = max(0, skip - len(data))
        except FileNotFoundError:
            return
        except modal_errors(OSError) as error:
            raise explained(error, f"{path} cannot be read from the volume") from error


def attempts_in(volume: str, environment: str | None, run_id: str) -> list[str]:
    """The keys of a run's attempts in the volume. Raises: ModalError."""
    import modal

    try:
        found = modal.Volume.from_name(volume, environment_name=environment).listdir(f"{run_id}/{INTERNAL}")
    except modal_errors(FileNotFoundError) as error:
        if isinstance(error, (FileNotFoundError, modal.exception.NotFoundError)):
            return []
        raise explained(error, "the volume cannot be listed") from error
    return [entry.path.rpartition("/")[2] for entry in found]


def _block_addresses(volume: Any, path: str, begin: int, size: int | None) -> tuple[list[str], int]:
    """The addresses of a file's blocks, and the byte at which the first one begins.

    The client's own `read_file` reads whole files only; its protocol knows a beginning and a length. A log that grows for a
    day must not be read from its beginning every other second. Raises: FileNotFoundError.
    """
    import modal.exception
    from modal._utils.async_utils import synchronize_api, synchronizer
    from modal_proto import api_pb2

    volume.hydrate()
    inner = synchronizer._translate_in(volume)

    async def ask() -> Any:
        request = api_pb2.VolumeGetFile2Request(
            volume_id=inner.object_id, path=path, start=begin, len=size or 0
        )
        return await inner.client._stub.VolumeGetFile2(request)

    try:
        answer = synchronize_api(ask)()
    except modal.exception.NotFoundError as error:
        raise FileNotFoundError(path) from error
    return list(answer.get_urls), int(answer.start)
