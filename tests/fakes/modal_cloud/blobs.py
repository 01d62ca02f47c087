"""Bytes over HTTP: large arguments and results, files of mounts, blocks of volumes."""

from __future__ import annotations

import hashlib
import itertools
import os
from pathlib import Path

from aiohttp import web
from modal_proto import api_pb2
from tests.fakes.modal_cloud.errors import not_found
from tests.fakes.modal_cloud.ids import new_id
from tests.fakes.modal_cloud.wire import Caller

BLOCK = 8 * 1024 * 1024


class Blobs:
    """Files below one folder: blobs by id, blocks by their hash, and reads, which are links to files of volumes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._reads = itertools.count()
        self.url = ""
        for kind in ("blobs", "blocks", "reads"):
            (folder / kind).mkdir(parents=True)

    def blob(self, blob_id: str) -> bytes:
        """What was uploaded."""
        path = self._folder / "blobs" / blob_id
        if not path.exists():
            raise not_found(f"Blob '{blob_id}' not found")
        return path.read_bytes()

    def block(self, sha256: bytes) -> Path:
        """Where a block is or would be."""
        return self._folder / "blocks" / sha256.hex()

    def block_url(self, sha256: bytes) -> str:
        """Where a block is sent to."""
        return f"{self.url}/blocks/{sha256.hex()}"

    def read_urls(self, path: Path, start: int, length: int) -> list[str]:
        """One for each block of a part of a file. Later versions of the file do not change what they give."""
        name = f"{next(self._reads)}"
        if length:
            os.link(path, self._folder / "reads" / name)
        urls = []
        at = start
        while at < start + length:
            end = min(start + length, (at // BLOCK + 1) * BLOCK)
            urls.append(f"{self.url}/reads/{name}?start={at}&length={end - at}")
            at = end
        return urls

    async def BlobCreate(
        self, request: api_pb2.BlobCreateRequest, _caller: Caller
    ) -> api_pb2.BlobCreateResponse:
        blob_id = new_id("bl")
        return api_pb2.BlobCreateResponse(
            blob_id=blob_id,
            blob_ids=[blob_id],
            upload_urls=api_pb2.UploadUrlList(items=[f"{self.url}/blobs/{blob_id}"]),
        )

    async def BlobGet(self, request: api_pb2.BlobGetRequest, _caller: Caller) -> api_pb2.BlobGetResponse:
        if not (self._folder / "blobs" / request.blob_id).exists():
            raise not_found(f"Blob '{request.blob_id}' not found")
        return api_pb2.BlobGetResponse(download_url=f"{self.url}/blobs/{request.blob_id}")

    async def put(self, request: web.Request) -> web.Response:
        """PUT of a blob or a block."""
        kind, name = request.match_info["kind"], request.match_info["name"]
        path = self._folder / kind / name
        part = path.with_name(f"{name}.{new_id('pt')}")
        md5, sha256 = hashlib.md5(), hashlib.sha256()
        with part.open("wb") as file:
            async for chunk in request.content.iter_chunked(1 << 20):
                file.write(chunk)
                md5.update(chunk)
                sha256.update(chunk)
        if kind == "blocks" and sha256.hexdigest() != name:
            part.unlink()
            return web.Response(status=400, text="the block's hash differs")
        part.rename(path)
        return web.Response(headers={"ETag": f'"{md5.hexdigest()}"'}, text=name)

    async def get(self, request: web.Request) -> web.Response:
        """GET of a blob, or of a part of a file."""
        path = self._folder / request.match_info["kind"] / request.match_info["name"]
        if not path.exists():
            return web.Response(status=404)
        with path.open("rb") as file:
            if "start" not in request.query:
                return web.Response(body=file.read())
            file.seek(int(request.query["start"]))
            return web.Response(body=file.read(int(request.query["length"])))
