"""Dicts: keys and values as bytes that the client pickled."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2
from tests.fakes.modal_cloud.ids import new_id
from tests.fakes.modal_cloud.names import MAIN, Names
from tests.fakes.modal_cloud.wire import Caller


@dataclass
class Dict:
    """One dict."""

    id: str
    name: str
    environment: str
    entries: dict[bytes, bytes] = field(default_factory=dict)
    created: float = field(default_factory=time.time)

    @property
    def metadata(self) -> api_pb2.DictMetadata:
        """Its name and age."""
        return api_pb2.DictMetadata(
            name=self.name,
            creation_info=api_pb2.CreationInfo(created_at=self.created, created_by="stand-in"),
        )


class Dicts:
    """All dicts."""

    def __init__(self) -> None:
        self._all: Names[Dict] = Names("Dict")

    async def DictGetOrCreate(
        self, request: api_pb2.DictGetOrCreateRequest, _caller: Caller
    ) -> api_pb2.DictGetOrCreateResponse:
        environment = request.environment_name or MAIN

        def create() -> Dict:
            entries = {entry.key: entry.value for entry in request.data}
            return Dict(new_id("di"), request.deployment_name, environment, entries)

        one = self._all.get_or_create(
            request.deployment_name, environment, request.object_creation_type, create
        )
        return api_pb2.DictGetOrCreateResponse(dict_id=one.id, metadata=one.metadata)

    async def DictGetById(
        self, request: api_pb2.DictGetByIdRequest, _caller: Caller
    ) -> api_pb2.DictGetByIdResponse:
        one = self._all.get(request.dict_id)
        return api_pb2.DictGetByIdResponse(dict_id=one.id, metadata=one.metadata)

    async def DictHeartbeat(self, request: api_pb2.DictHeartbeatRequest, _caller: Caller) -> Empty:
        self._all.get(request.dict_id)
        return Empty()

    async def DictUpdate(
        self, request: api_pb2.DictUpdateRequest, _caller: Caller
    ) -> api_pb2.DictUpdateResponse:
        entries = self._all.get(request.dict_id).entries
        created = False
        for entry in request.updates:
            if request.if_not_exists and entry.key in entries:
                continue
            created = created or entry.key not in entries
            entries[entry.key] = entry.value
        return api_pb2.DictUpdateResponse(created=created)

    async def DictGet(self, request: api_pb2.DictGetRequest, _caller: Caller) -> api_pb2.DictGetResponse:
        value = self._all.get(request.dict_id).entries.get(request.key)
        return api_pb2.DictGetResponse(found=value is not None, value=value)

    async def DictPop(self, request: api_pb2.DictPopRequest, _caller: Caller) -> api_pb2.DictPopResponse:
        value = self._all.get(request.dict_id).entries.pop(request.key, None)
        return api_pb2.DictPopResponse(found=value is not None, value=value)

    async def DictContains(
        self, request: api_pb2.DictContainsRequest, _caller: Caller
    ) -> api_pb2.DictContainsResponse:
        return api_pb2.DictContainsResponse(found=request.key in self._all.get(request.dict_id).entries)

    async def DictLen(self, request: api_pb2.DictLenRequest, _caller: Caller) -> api_pb2.DictLenResponse:
        return api_pb2.DictLenResponse(len=len(self._all.get(request.dict_id).entries))

    async def DictClear(self, request: api_pb2.DictClearRequest, _caller: Caller) -> Empty:
        self._all.get(request.dict_id).entries.clear()
        return Empty()

    async def DictDelete(self, request: api_pb2.DictDeleteRequest, _caller: Caller) -> Empty:
        self._all.drop(request.dict_id)
        return Empty()

    async def DictContents(
        self, request: api_pb2.DictContentsRequest, _caller: Caller
    ) -> AsyncIterator[api_pb2.DictEntry]:
        for key, value in list(self._all.get(request.dict_id).entries.items()):
            yield api_pb2.DictEntry(key=key, value=value)

    async def DictList(self, request: api_pb2.DictListRequest, _caller: Caller) -> api_pb2.DictListResponse:
        return api_pb2.DictListResponse(
            environment_name=request.environment_name or MAIN,
            dicts=[
                api_pb2.DictListResponse.DictInfo(
                    name=one.name, created_at=one.created, dict_id=one.id, metadata=one.metadata
                )
                for one in self._all.page(request.environment_name, request.pagination)
            ],
        )
