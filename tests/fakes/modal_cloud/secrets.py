"""Secrets: sets of environment variables."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2
from tests.fakes.modal_cloud.errors import not_found
from tests.fakes.modal_cloud.ids import new_id
from tests.fakes.modal_cloud.names import MAIN, Names
from tests.fakes.modal_cloud.wire import Caller


@dataclass
class Secret:
    """One secret."""

    id: str
    name: str
    environment: str
    variables: dict[str, str]
    created: float = field(default_factory=time.time)

    @property
    def metadata(self) -> api_pb2.SecretMetadata:
        """Its keys, without their values."""
        return api_pb2.SecretMetadata(
            name=self.name,
            keys=sorted(self.variables),
            environment_name=self.environment,
            creation_info=api_pb2.CreationInfo(created_at=self.created, created_by="stand-in"),
        )


class Secrets:
    """All secrets."""

    def __init__(self) -> None:
        self._all: Names[Secret] = Names("Secret")

    def put(self, name: str, variables: dict[str, str]) -> None:
        """As on the web page."""
        there = self._all.find(name, MAIN)
        if there is None:
            self._all.add(Secret(new_id("st"), name, MAIN, dict(variables)))
        else:
            there.variables = dict(variables)

    def variables(self, secret_ids: list[str]) -> dict[str, str]:
        """What a container gets; of two secrets the later one wins."""
        return {key: value for one in secret_ids for key, value in self._all.get(one).variables.items()}

    async def SecretGetOrCreate(
        self, request: api_pb2.SecretGetOrCreateRequest, _caller: Caller
    ) -> api_pb2.SecretGetOrCreateResponse:
        environment = request.environment_name or MAIN
        creation = request.object_creation_type

        def create() -> Secret:
            return Secret(new_id("st"), request.deployment_name, environment, dict(request.env_dict))

        secret = self._all.get_or_create(request.deployment_name, environment, creation, create)
        if creation == api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS:
            secret.variables = dict(request.env_dict)
        lacks = [key for key in request.required_keys if key not in secret.variables]
        if lacks:
            raise not_found(f"Secret is missing key(s): {', '.join(lacks)}")
        return api_pb2.SecretGetOrCreateResponse(secret_id=secret.id, metadata=secret.metadata)

    async def SecretGetInfo(
        self, request: api_pb2.SecretGetInfoRequest, _caller: Caller
    ) -> api_pb2.SecretGetInfoResponse:
        return api_pb2.SecretGetInfoResponse(metadata=self._all.get(request.secret_id).metadata)

    async def SecretUpdate(self, request: api_pb2.SecretUpdateRequest, _caller: Caller) -> Empty:
        secret = self._all.get(request.secret_id)
        for update in request.updates:
            if update.HasField("value"):
                secret.variables[update.key] = update.value
            else:
                secret.variables.pop(update.key, None)
        return Empty()

    async def SecretDelete(self, request: api_pb2.SecretDeleteRequest, _caller: Caller) -> Empty:
        self._all.drop(request.secret_id)
        return Empty()

    async def SecretList(self, request: Any, _caller: Caller) -> api_pb2.SecretListResponse:
        return api_pb2.SecretListResponse(
            environment_name=request.environment_name or MAIN,
            items=[
                api_pb2.SecretListItem(
                    label=one.name, created_at=one.created, secret_id=one.id, metadata=one.metadata
                )
                for one in self._all.page(request.environment_name, request.pagination)
            ],
        )
