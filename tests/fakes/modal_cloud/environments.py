"""Environments, the workspace, and the greeting."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2
from tests.fakes.modal_cloud.errors import exists, not_found
from tests.fakes.modal_cloud.ids import new_id
from tests.fakes.modal_cloud.names import MAIN
from tests.fakes.modal_cloud.wire import Caller

BUILDER = "2025.06"


class Environments:
    """One environment is always there: main."""

    def __init__(self) -> None:
        self._ids = {MAIN: new_id("en")}
        self._created = time.time()

    async def ClientHello(self, _request: Any, _caller: Caller) -> api_pb2.ClientHelloResponse:
        return api_pb2.ClientHelloResponse(image_builder_version=BUILDER)

    async def AuthTokenGet(self, _request: Any, _caller: Caller) -> api_pb2.AuthTokenGetResponse:
        body = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + 1200}).encode()).decode().rstrip("=")
        return api_pb2.AuthTokenGetResponse(token=f"e30.{body}.e30")

    async def WorkspaceNameLookup(
        self, _request: Any, _caller: Caller
    ) -> api_pb2.WorkspaceNameLookupResponse:
        return api_pb2.WorkspaceNameLookupResponse(workspace_name="stand-in", username="stand-in")

    async def TokenInfoGet(self, _request: Any, _caller: Caller) -> api_pb2.TokenInfoGetResponse:
        return api_pb2.TokenInfoGetResponse(workspace_id="wo-stand-in", workspace_name="stand-in")

    async def EnvironmentGetOrCreate(
        self, request: api_pb2.EnvironmentGetOrCreateRequest, _caller: Caller
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        name = request.deployment_name or MAIN
        if name not in self._ids:
            if request.object_creation_type == api_pb2.OBJECT_CREATION_TYPE_UNSPECIFIED:
                raise not_found(f"Environment '{name}' not found")
            self._ids[name] = new_id("en")
        return api_pb2.EnvironmentGetOrCreateResponse(
            environment_id=self._ids[name],
            metadata=api_pb2.EnvironmentMetadata(
                name=name, settings=api_pb2.EnvironmentSettings(image_builder_version=BUILDER)
            ),
        )

    async def EnvironmentCreate(self, request: api_pb2.EnvironmentCreateRequest, _caller: Caller) -> Empty:
        if request.name in self._ids:
            raise exists(f"Environment '{request.name}' already exists")
        self._ids[request.name] = new_id("en")
        return Empty()

    async def EnvironmentList(self, _request: Any, _caller: Caller) -> api_pb2.EnvironmentListResponse:
        return api_pb2.EnvironmentListResponse(
            items=[
                api_pb2.EnvironmentListItem(
                    name=name, created_at=self._created, default=name == MAIN, environment_id=one_id
                )
                for name, one_id in self._ids.items()
            ]
        )
