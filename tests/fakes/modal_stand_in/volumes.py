"""Volumes: committed content as an ordinary folder, working copies in containers, files in blocks of 8 MiB for clients."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2 as api
from tests.fakes.modal_stand_in.objects import Objects, missing, new_id

BLOCK = 8 << 20


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and modification time of every file."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            path = Path(parent, name)
            about = path.lstat()
            found[str(path.relative_to(folder))] = (about.st_size, about.st_mtime_ns)
    return found


class WorkingCopy:
    """What a container sees of a volume: what was committed when it began, and what it wrote since."""

    def __init__(self, committed: Path, place: Path) -> None:
        self.committed = committed
        self.place = place
        shutil.copytree(committed, place, symlinks=True)
        self._base = listing(place)

    def commit(self) -> None:
        """What changed here goes there, each file whole."""
        now = listing(self.place)
        for path, about in now.items():
            if self._base.get(path) != about:
                _copy(self.place / path, self.committed / path)
        for path in set(self._base) - set(now):
            (self.committed / path).unlink(missing_ok=True)
        _remove_empty(self.committed)
        self._base = now

    def reload(self) -> None:
        """What others committed comes here."""
        there = listing(self.committed)
        for path, about in there.items():
            if listing(self.place).get(path) != about:
                _copy(self.committed / path, self.place / path)
        self._base = listing(self.place)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{target.name}.commit")
    shutil.copy2(source, draft, follow_symlinks=False)
    draft.replace(target)


def _remove_empty(folder: Path) -> None:
    for parent, _, _ in os.walk(folder, topdown=False):
        if Path(parent) != folder and not any(Path(parent).iterdir()):
            Path(parent).rmdir()


class Volumes(Objects):
    """A part of the cloud."""

    def __init__(self) -> None:
        super().__init__()
        self.volume_names: dict[str, str] = {}

    def volume_folder(self, volume_id: str) -> Path:
        """Its committed content."""
        return self.folder / "volumes" / volume_id

    def _inside(self, volume_id: str, path: str) -> Path:
        place = self.volume_folder(volume_id) / path.strip("/")
        if not place.resolve().is_relative_to(self.volume_folder(volume_id).resolve()):
            raise GRPCError(Status.INVALID_ARGUMENT, "path outside of the volume")
        return place

    async def VolumeGetOrCreate(self, request: Any, _task: Any) -> Any:
        name = request.deployment_name
        if name not in self.volume_names:
            if request.object_creation_type == api.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise missing(f"Volume '{name}'")
            if request.version == api.VOLUME_FS_VERSION_V1:
                raise GRPCError(Status.UNIMPLEMENTED, "the stand-in has volumes of version 2 only")
            self.volume_names[name] = new_id("vo")
            self.volume_folder(self.volume_names[name]).mkdir(parents=True)
        about = api.VolumeMetadata(version=api.VOLUME_FS_VERSION_V2, name=name)
        return api.VolumeGetOrCreateResponse(
            volume_id=self.volume_names[name], version=api.VOLUME_FS_VERSION_V2, metadata=about
        )

    async def VolumePutFiles2(self, request: Any, _task: Any) -> Any:
        lacks = [
            api.VolumePutFiles2Response.MissingBlock(
                file_index=number, block_index=index, put_url=self.address(block.contents_sha256.hex())
            )
            for number, file in enumerate(request.files)
            for index, block in enumerate(file.blocks)
            if not self.block(block.contents_sha256.hex()).exists()
        ]
        if not lacks:
            for file in request.files:
                target = self._inside(request.volume_id, file.path)
                target.parent.mkdir(parents=True, exist_ok=True)
                draft = target.with_name(f".{target.name}.put")
                with draft.open("wb") as out:
                    for block in file.blocks:
                        out.write(self.block(block.contents_sha256.hex()).read_bytes())
                    # Blocks come without the zeros at their end.
                    out.truncate(file.size)
                draft.chmod(file.mode or 0o644)
                draft.replace(target)
        return api.VolumePutFiles2Response(missing_blocks=lacks)

    async def VolumeListFiles2(self, request: Any, _task: Any) -> AsyncIterator[Any]:
        place = self._inside(request.volume_id, request.path)
        root = self.volume_folder(request.volume_id)
        if not place.exists():
            raise missing(f"path {request.path!r}")
        if place.is_file():
            paths = [place]
        else:
            paths = sorted(place.rglob("*") if request.recursive else place.iterdir())
        kinds = {True: api.FileEntry.FileType.DIRECTORY, False: api.FileEntry.FileType.FILE}
        entries = [
            api.FileEntry(
                path=str(path.relative_to(root)),
                type=kinds[path.is_dir()],
                mtime=int(path.stat().st_mtime),
                size=path.stat().st_size,
            )
            for path in paths
        ]
        yield api.VolumeListFiles2Response(entries=entries)

    async def VolumeGetFile2(self, request: Any, _task: Any) -> Any:
        place = self._inside(request.volume_id, request.path)
        if not place.is_file():
            raise missing(f"file {request.path!r}")
        size = place.stat().st_size
        end = min(size, request.start + request.len) if request.len else size
        addresses = []
        with place.open("rb") as file:
            file.seek(request.start)
            left = max(0, end - request.start)
            while left:
                data = file.read(min(left, BLOCK))
                left -= len(data)
                # By content, as there: what is committed meanwhile changes no block that was given out.
                addresses.append(self.address(self.put_block(data)))
        return api.VolumeGetFile2Response(
            get_urls=addresses, size=size, start=request.start, len=max(0, end - request.start)
        )

    async def VolumeRemoveFile2(self, request: Any, _task: Any) -> Any:
        place = self._inside(request.volume_id, request.path)
        if place.is_dir():
            shutil.rmtree(place)
        elif place.exists():
            place.unlink()
        else:
            raise missing(f"path {request.path!r}")
        return Empty()

    async def VolumeDelete(self, request: Any, _task: Any) -> Any:
        shutil.rmtree(self.volume_folder(request.volume_id), ignore_errors=True)
        self.volume_names = {name: one for name, one in self.volume_names.items() if one != request.volume_id}
        return Empty()

    async def VolumeCommit(self, request: Any, task: Any) -> Any:
        task.volumes[request.volume_id].commit()
        task.committed_at = time.time()
        return api.VolumeCommitResponse(skip_reload=True)

    async def VolumeReload(self, request: Any, task: Any) -> Any:
        task.volumes[request.volume_id].reload()
        return Empty()
