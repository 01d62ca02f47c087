"""Volumes: their committed content, and the RPCs on it. Version 2 only."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2
from tests.fakes.modal_cloud.blobs import Blobs
from tests.fakes.modal_cloud.errors import conflict, exists, invalid, not_found
from tests.fakes.modal_cloud.ids import new_id
from tests.fakes.modal_cloud.names import MAIN, Names
from tests.fakes.modal_cloud.wire import Caller

_KEPT_VERSIONS = 5
Mark = tuple[int, ...]


@dataclass
class Volume:
    """One volume. `content` is a link to the newest version; the files of a version never change."""

    id: str
    name: str
    environment: str
    folder: Path
    version: int = 0
    created: float = field(default_factory=time.time)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        (self.folder / "0").mkdir(parents=True)
        self._show("0")

    @property
    def content(self) -> Path:
        """What was committed."""
        return self.folder / "content"

    @property
    def newest(self) -> Path:
        """The folder of the newest version."""
        return self.folder / str(self.version)

    @property
    def metadata(self) -> api_pb2.VolumeMetadata:
        """Its name, version and age."""
        return api_pb2.VolumeMetadata(
            version=api_pb2.VOLUME_FS_VERSION_V2,
            name=self.name,
            creation_info=api_pb2.CreationInfo(created_at=self.created, created_by="stand-in"),
        )

    def path(self, name: str) -> Path:
        """A file of the newest version; it need not be there."""
        parts = PurePosixPath("/" + name).parts[1:]
        if ".." in parts:
            raise invalid(f"path {name!r} leaves the volume")
        return self.newest.joinpath(*parts)

    def draft(self) -> Path:
        """A copy of the newest version, to change and then publish."""
        draft = self.folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(self.newest, draft, symlinks=True, copy_function=os.link)
        return draft

    def publish(self, draft: Path) -> None:
        """The draft is the newest version from now on, at once and as a whole."""
        self.version += 1
        draft.rename(self.newest)
        self._show(str(self.version))
        shutil.rmtree(self.folder / str(self.version - _KEPT_VERSIONS), ignore_errors=True)

    def _show(self, version: str) -> None:
        link = self.folder / "next"
        link.symlink_to(version)
        link.replace(self.content)


class WorkingCopy:
    """A volume as one container has it: a copy of its own, until it commits."""

    def __init__(self, volume: Volume, folder: Path) -> None:
        self.volume = volume
        self.folder = folder
        self._marks: dict[str, Mark] = {}
        self._base = volume.newest
        shutil.copytree(volume.newest, folder, symlinks=True)
        self._marks = _marks(folder)

    def commit(self) -> None:
        """What changed here since the last commit goes into the volume; the last writer of a file wins."""
        now = _marks(self.folder)
        changed = [name for name, mark in now.items() if self._marks.get(name) != mark]
        gone = [name for name in self._marks if name not in now]
        if changed or gone:
            draft = self.volume.draft()
            for name in sorted(gone, reverse=True):
                _remove(draft / name)
            for name in sorted(changed):
                _replace(self.folder / name, draft / name)
            self.volume.publish(draft)
        self._marks = now

    def reload(self) -> None:
        """Commit what changed here, then fetch what others changed."""
        self.commit()
        theirs = _marks(self.volume.newest)
        for name in sorted(set(self._marks) - set(theirs), reverse=True):
            _remove(self.folder / name)
        for name in sorted(theirs):
            source, target = self.volume.newest / name, self.folder / name
            if not (target.exists() or target.is_symlink()) or not _same(source, target):
                _replace(source, target)
        self._marks = _marks(self.folder)


def _marks(folder: Path) -> dict[str, Mark]:
    """What tells whether a file was touched. A change time cannot be set back."""
    marks: dict[str, Mark] = {}
    for where, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(where, name)
            try:
                found = path.lstat()
            except FileNotFoundError:
                continue
            if stat.S_ISDIR(found.st_mode):
                marks[str(path.relative_to(folder))] = (found.st_mode,)
            elif stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode):
                marks[str(path.relative_to(folder))] = (
                    found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_mode
                )  # fmt: skip
    return marks


def _same(one: Path, other: Path) -> bool:
    a, b = one.lstat(), other.lstat()
    if stat.S_ISDIR(a.st_mode) or stat.S_ISDIR(b.st_mode):
        return a.st_mode == b.st_mode
    return (a.st_mode, a.st_size, a.st_mtime_ns) == (b.st_mode, b.st_size, b.st_mtime_ns)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _replace(source: Path, target: Path) -> None:
    """A new file, never the old one written over: older versions and readers still have that."""
    if source.is_dir() and not source.is_symlink():
        if target.is_symlink() or target.is_file():
            target.unlink()
        target.mkdir(parents=True, exist_ok=True)
        shutil.copystat(source, target)
        return
    _remove(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(source, target, follow_symlinks=False)


class Volumes:
    """All volumes."""

    def __init__(self, folder: Path, blobs: Blobs) -> None:
        self._folder = folder
        self._blobs = blobs
        self._all: Names[Volume] = Names("Volume")

    def named(self, name: str) -> Volume | None:
        """By name."""
        return self._all.find(name, MAIN)

    def get(self, volume_id: str) -> Volume:
        """By id."""
        return self._all.get(volume_id)

    async def VolumeGetOrCreate(
        self, request: api_pb2.VolumeGetOrCreateRequest, _caller: Caller
    ) -> api_pb2.VolumeGetOrCreateResponse:
        environment = request.environment_name or MAIN

        def create() -> Volume:
            if request.version != api_pb2.VOLUME_FS_VERSION_V2:
                raise invalid("the stand-in has volumes of version 2 only: say version=2")
            volume_id = new_id("vo")
            return Volume(volume_id, request.deployment_name, environment, self._folder / volume_id)

        volume = self._all.get_or_create(
            request.deployment_name, environment, request.object_creation_type, create
        )
        return api_pb2.VolumeGetOrCreateResponse(
            volume_id=volume.id, version=api_pb2.VOLUME_FS_VERSION_V2, metadata=volume.metadata
        )

    async def VolumeGetById(
        self, request: api_pb2.VolumeGetByIdRequest, _caller: Caller
    ) -> api_pb2.VolumeGetByIdResponse:
        volume = self._all.get(request.volume_id)
        return api_pb2.VolumeGetByIdResponse(volume_id=volume.id, metadata=volume.metadata)

    async def VolumeHeartbeat(self, request: api_pb2.VolumeHeartbeatRequest, _caller: Caller) -> Empty:
        self._all.get(request.volume_id)
        return Empty()

    async def VolumeRename(self, request: api_pb2.VolumeRenameRequest, _caller: Caller) -> Empty:
        self._all.get(request.volume_id).name = request.name
        return Empty()

    async def VolumeDelete(self, request: api_pb2.VolumeDeleteRequest, _caller: Caller) -> Empty:
        volume = self._all.drop(request.volume_id)
        shutil.rmtree(volume.folder, ignore_errors=True)
        return Empty()

    async def VolumeList(
        self, request: api_pb2.VolumeListRequest, _caller: Caller
    ) -> api_pb2.VolumeListResponse:
        return api_pb2.VolumeListResponse(
            environment_name=request.environment_name or MAIN,
            items=[
                api_pb2.VolumeListItem(
                    label=one.name, volume_id=one.id, created_at=one.created, metadata=one.metadata
                )
                for one in self._all.page(request.environment_name, request.pagination)
            ],
        )

    async def VolumePutFiles2(
        self, request: api_pb2.VolumePutFiles2Request, _caller: Caller
    ) -> api_pb2.VolumePutFiles2Response:
        volume = self._all.get(request.volume_id)
        missing: dict[bytes, api_pb2.VolumePutFiles2Response.MissingBlock] = {}
        for file_index, file in enumerate(request.files):
            if request.disallow_overwrite_existing_files and volume.path(file.path).exists():
                raise exists(f"{file.path} already exists")
            if volume.path(file.path).is_dir():
                raise exists(f"{file.path} is a directory")
            for block_index, block in enumerate(file.blocks):
                if not self._blobs.block(block.contents_sha256).exists():
                    missing[block.contents_sha256] = api_pb2.VolumePutFiles2Response.MissingBlock(
                        file_index=file_index,
                        block_index=block_index,
                        put_url=self._blobs.block_url(block.contents_sha256),
                    )
        if not missing and request.files:
            async with volume.lock:
                await asyncio.to_thread(self._put, volume, request)
        return api_pb2.VolumePutFiles2Response(missing_blocks=missing.values())

    def _put(self, volume: Volume, request: api_pb2.VolumePutFiles2Request) -> None:
        draft = volume.draft()
        for file in request.files:
            path = draft / volume.path(file.path).relative_to(volume.newest)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            with path.open("wb") as target:
                for block in file.blocks:
                    with self._blobs.block(block.contents_sha256).open("rb") as source:
                        shutil.copyfileobj(source, target, 1 << 20)
                target.truncate(file.size)
            path.chmod((file.mode & 0o7777) or 0o644)
        volume.publish(draft)

    async def VolumeListFiles2(
        self, request: api_pb2.VolumeListFiles2Request, _caller: Caller
    ) -> AsyncIterator[api_pb2.VolumeListFiles2Response]:
        volume = self._all.get(request.volume_id)
        root, start = volume.newest, volume.path(request.path)
        if not start.exists():
            raise not_found(f"No such file or directory: {request.path}")
        if start.is_dir():
            found = sorted(start.rglob("*") if request.recursive else start.iterdir())
        else:
            found = [start]
        if request.HasField("max_entries"):
            found = found[: request.max_entries]
        for at in range(0, len(found), 100):
            yield api_pb2.VolumeListFiles2Response(
                entries=[_entry(one, root) for one in found[at : at + 100]]
            )

    async def VolumeGetFile2(
        self, request: api_pb2.VolumeGetFile2Request, _caller: Caller
    ) -> api_pb2.VolumeGetFile2Response:
        path = self._all.get(request.volume_id).path(request.path)
        if not path.exists():
            raise not_found(f"No such file or directory: {request.path}")
        if path.is_dir():
            raise invalid(f"{request.path} is a directory")
        path = path.resolve()
        size = path.stat().st_size
        start = min(request.start, size)
        length = min(request.len, size - start) if request.len else size - start
        return api_pb2.VolumeGetFile2Response(
            get_urls=self._blobs.read_urls(path, start, length), size=size, start=start, len=length
        )

    async def VolumeRemoveFile2(self, request: api_pb2.VolumeRemoveFile2Request, _caller: Caller) -> Empty:
        volume = self._all.get(request.volume_id)
        async with volume.lock:
            path = volume.path(request.path)
            if not path.exists():
                raise not_found(f"No such file or directory: {request.path}")
            if path.is_dir() and not request.recursive and any(path.iterdir()):
                raise invalid(f"{request.path} is a directory that is not empty")
            draft = volume.draft()
            place = draft / path.relative_to(volume.newest)
            if place == draft:
                shutil.rmtree(draft)
                draft.mkdir()
            else:
                _remove(place)
            volume.publish(draft)
        return Empty()

    async def VolumeCopyFiles2(self, request: api_pb2.VolumeCopyFiles2Request, _caller: Caller) -> Empty:
        volume = self._all.get(request.volume_id)
        async with volume.lock:
            sources = [volume.path(one) for one in request.src_paths]
            target = volume.path(request.dst_path).relative_to(volume.newest)
            draft = volume.draft()
            for source in sources:
                if not source.exists():
                    raise not_found(f"No such file or directory: {source.relative_to(volume.newest)}")
                place = draft / target
                if place.is_dir() or len(sources) > 1:
                    place = place / source.name
                if source.is_dir():
                    if not request.recursive:
                        raise invalid(f"{source.name} is a directory")
                    shutil.copytree(source, place, symlinks=True, dirs_exist_ok=True)
                else:
                    _replace(source, place)
            volume.publish(draft)
        return Empty()

    async def VolumeCommit(
        self, request: api_pb2.VolumeCommitRequest, caller: Caller
    ) -> api_pb2.VolumeCommitResponse:
        copy = self._working_copy(request.volume_id, caller)
        async with copy.volume.lock:
            await asyncio.to_thread(copy.commit)
        return api_pb2.VolumeCommitResponse(skip_reload=True)

    async def VolumeReload(self, request: api_pb2.VolumeReloadRequest, caller: Caller) -> Empty:
        copy = self._working_copy(request.volume_id, caller)
        async with copy.volume.lock:
            await asyncio.to_thread(copy.reload)
        return Empty()

    @staticmethod
    def _working_copy(volume_id: str, caller: Caller) -> WorkingCopy:
        if caller.container is None:
            raise conflict("commit() and reload() only work in a container that has the Volume mounted")
        copy = caller.container.copies.get(volume_id)
        if copy is None:
            raise not_found(f"Volume {volume_id} is not mounted in this container")
        return copy


def _entry(path: Path, root: Path) -> api_pb2.FileEntry:
    found = path.lstat()
    kind = api_pb2.FileEntry.FILE
    if stat.S_ISDIR(found.st_mode):
        kind = api_pb2.FileEntry.DIRECTORY
    elif stat.S_ISLNK(found.st_mode):
        kind = api_pb2.FileEntry.SYMLINK
    return api_pb2.FileEntry(
        path=str(path.relative_to(root)), type=kind, mtime=int(found.st_mtime), size=found.st_size
    )
