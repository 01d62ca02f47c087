"""Small things with names: environments, secrets, dicts, mounts, blobs."""

from __future__ import annotations

import hashlib
import secrets
from pathlib import Path
from typing import Any

from google.protobuf.empty_pb2 import Empty
from grpclib.const import Status
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2 as api

BUILDER = "2025.06"
"""Version of the image builder that the workspace is set to."""


def new_id(prefix: str) -> str:
    """Of the length that Modal's have."""
    alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    return f"{prefix}-" + "".join(secrets.choice(alphabet) for _ in range(22))


def missing(what: str) -> GRPCError:
    """NOT_FOUND, in Modal's manner."""
    return GRPCError(Status.NOT_FOUND, f"{what} not found")


class Objects:
    """A part of the cloud."""

    folder: Path

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, str]] = {}
        self.secret_names: dict[str, str] = {}
        self.dicts: dict[str, dict[bytes, bytes]] = {}
        self.dict_names: dict[str, str] = {}
        self.mounts: dict[str, list[Any]] = {}

    def put_block(self, data: bytes) -> str:
        """Keeps bytes under their SHA-256."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.block(digest)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f"{digest}.tmp")
            draft.write_bytes(data)
            draft.replace(path)
        return digest

    def block(self, digest: str) -> Path:
        """Where they are."""
        return self.folder / "blocks" / digest

    def address(self, digest: str) -> str:
        """Where they can be fetched and put."""
        raise NotImplementedError

    async def ClientHello(self, _request: Any, _task: Any) -> Any:
        return api.ClientHelloResponse(image_builder_version=BUILDER)

    async def AuthTokenGet(self, _request: Any, _task: Any) -> Any:
        return api.AuthTokenGetResponse(token="stand-in")

    async def EnvironmentGetOrCreate(self, request: Any, _task: Any) -> Any:
        settings = api.EnvironmentSettings(image_builder_version=BUILDER)
        name = request.deployment_name or "main"
        return api.EnvironmentGetOrCreateResponse(
            environment_id=f"en-{name}", metadata=api.EnvironmentMetadata(name=name, settings=settings)
        )

    # Secrets

    async def SecretGetOrCreate(self, request: Any, _task: Any) -> Any:
        name = request.deployment_name
        if name and name in self.secret_names:
            found = self.secret_names[name]
            if lacks := set(request.required_keys) - set(self.secrets[found]):
                raise missing(f"Secret '{name}' with the keys {sorted(lacks)}")
            return api.SecretGetOrCreateResponse(secret_id=found)
        if name and not request.env_dict:
            raise missing(f"Secret '{name}'")
        made = new_id("st")
        self.secrets[made] = dict(request.env_dict)
        if name:
            self.secret_names[name] = made
        return api.SecretGetOrCreateResponse(secret_id=made)

    # Dicts

    async def DictGetOrCreate(self, request: Any, _task: Any) -> Any:
        name = request.deployment_name
        if name not in self.dict_names:
            if request.object_creation_type == api.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise missing(f"Dict '{name}'")
            self.dict_names[name] = new_id("di")
            self.dicts[self.dict_names[name]] = {}
        found = self.dict_names[name]
        return api.DictGetOrCreateResponse(dict_id=found, metadata=api.DictMetadata(name=name))

    async def DictUpdate(self, request: Any, _task: Any) -> Any:
        entries, created = self.dicts[request.dict_id], False
        for one in request.updates:
            if not (request.if_not_exists and one.key in entries):
                entries[one.key] = one.value
                created = True
        return api.DictUpdateResponse(created=created)

    async def DictGet(self, request: Any, _task: Any) -> Any:
        value = self.dicts[request.dict_id].get(request.key)
        return api.DictGetResponse(found=value is not None, value=value)

    async def DictPop(self, request: Any, _task: Any) -> Any:
        value = self.dicts[request.dict_id].pop(request.key, None)
        return api.DictPopResponse(found=value is not None, value=value)

    async def DictDelete(self, request: Any, _task: Any) -> Any:
        self.dicts.pop(request.dict_id, None)
        self.dict_names = {name: one for name, one in self.dict_names.items() if one != request.dict_id}
        return Empty()

    # Blobs and mounts

    async def BlobCreate(self, request: Any, _task: Any) -> Any:
        import base64

        digest = base64.b64decode(request.content_sha256_base64).hex()
        return api.BlobCreateResponse(blob_id=f"bl-{digest}", upload_url=self.address(digest))

    async def BlobGet(self, request: Any, _task: Any) -> Any:
        return api.BlobGetResponse(download_url=self.address(request.blob_id.removeprefix("bl-")))

    async def MountBatchedCheckExistence(self, request: Any, _task: Any) -> Any:
        lacks = [digest for digest in request.sha256_hex_hashes if not self.block(digest).exists()]
        return api.MountBatchedCheckExistenceResponse(missing_sha256_hex_hashes=lacks)

    async def MountPutFile(self, request: Any, _task: Any) -> Any:
        if request.data:
            self.put_block(request.data)
        return api.MountPutFileResponse(exists=self.block(request.sha256_hex).exists() or not request.data)

    async def MountGetOrCreate(self, request: Any, _task: Any) -> Any:
        made = new_id("mo")
        self.mounts[made] = list(request.files)
        return api.MountGetOrCreateResponse(mount_id=made)
