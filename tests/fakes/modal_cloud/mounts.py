"""Mounts: sets of files that were uploaded from the client's machine."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from modal_proto import api_pb2
from tests.fakes.modal_cloud.blobs import Blobs
from tests.fakes.modal_cloud.errors import not_found
from tests.fakes.modal_cloud.ids import new_id
from tests.fakes.modal_cloud.wire import Caller


class Mounts:
    """Files by their hash, and mounts by their content."""

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self._folder = folder
        self._blobs = blobs
        self._mounts: dict[str, list[api_pb2.MountFile]] = {}
        self._ids: dict[str, str] = {}
        folder.mkdir(parents=True)

    def digest(self, mount_id: str) -> str:
        """Of its whole content."""
        return _digest(self._files(mount_id))

    def write(self, mount_id: str, root: Path) -> None:
        """Write the files below a folder."""
        for file in self._files(mount_id):
            path = root / file.filename.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            shutil.copyfile(self._folder / file.sha256_hex, path)
            path.chmod(file.mode or 0o644)

    def _files(self, mount_id: str) -> list[api_pb2.MountFile]:
        if mount_id not in self._mounts:
            raise not_found(f"Mount '{mount_id}' not found")
        return self._mounts[mount_id]

    async def MountBatchedCheckExistence(
        self, request: api_pb2.MountBatchedCheckExistenceRequest, _caller: Caller
    ) -> api_pb2.MountBatchedCheckExistenceResponse:
        return api_pb2.MountBatchedCheckExistenceResponse(
            missing_sha256_hex_hashes=[
                one for one in request.sha256_hex_hashes if not (self._folder / one).exists()
            ]
        )

    async def MountPutFile(
        self, request: api_pb2.MountPutFileRequest, _caller: Caller
    ) -> api_pb2.MountPutFileResponse:
        path = self._folder / request.sha256_hex
        given = request.WhichOneof("data_oneof")
        if given is not None:
            data = self._blobs.blob(request.data_blob_id) if given == "data_blob_id" else request.data
            if hashlib.sha256(data).hexdigest() == request.sha256_hex:
                path.write_bytes(data)
        return api_pb2.MountPutFileResponse(exists=path.exists())

    async def MountGetOrCreate(
        self, request: api_pb2.MountGetOrCreateRequest, _caller: Caller
    ) -> api_pb2.MountGetOrCreateResponse:
        # Mounts with a name are Modal's own, above all the client's code: the base image has that already.
        files = [] if request.deployment_name else list(request.files)
        digest = _digest(files)
        if digest not in self._ids:
            self._ids[digest] = new_id("mo")
            self._mounts[self._ids[digest]] = files
        return api_pb2.MountGetOrCreateResponse(
            mount_id=self._ids[digest],
            handle_metadata=api_pb2.MountHandleMetadata(content_checksum_sha256_hex=digest),
        )


def _digest(files: list[api_pb2.MountFile]) -> str:
    lines = sorted(f"{file.filename} {file.sha256_hex} {file.mode}" for file in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
