"""The gRPC front: finds the method of an RPC, checks who calls, and lets faults happen."""

from __future__ import annotations

import asyncio
import traceback
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import message_factory
from google.protobuf.message import Message
from grpclib import GRPCError, Status
from grpclib.const import Cardinality, Handler
from grpclib.server import Stream
from modal_proto import api_pb2
from tests.fakes.modal_cloud.faults import Faults, Rule

if TYPE_CHECKING:
    from tests.fakes.modal_cloud.containers import Container

_REMEMBERED = 2_000
_NOT_REMEMBERED = ("Get", "Heartbeat", "Hello", "List", "Lookup", "Contents", "Logs", "Streaming")


@dataclass(frozen=True)
class Caller:
    """Who calls: a client, or a container."""

    container: Container | None = None

    @property
    def name(self) -> str:
        """For the list of calls."""
        return self.container.id if self.container is not None else "client"


class Wire:
    """What grpclib serves. A service has one method for each RPC, with the RPC's name."""

    def __init__(
        self,
        services: list[object],
        faults: Faults,
        tokens: Mapping[str, str],
        container: Callable[[str], Container | None],
    ) -> None:
        self._services = services
        self._faults = faults
        self._tokens = tokens
        self._container = container
        self._replies: OrderedDict[tuple[str, str], Message] = OrderedDict()

    def __mapping__(self) -> dict[str, Handler]:
        handlers = {}
        service = api_pb2.DESCRIPTOR.services_by_name["ModalClient"]
        for method in service.methods:
            found = next(
                (getattr(one, method.name) for one in self._services if hasattr(one, method.name)), None
            )
            handlers[f"/{service.full_name}/{method.name}"] = Handler(
                self._streamed(method.name, found)
                if method.server_streaming
                else self._unary(method.name, found),
                Cardinality.UNARY_STREAM if method.server_streaming else Cardinality.UNARY_UNARY,
                message_factory.GetMessageClass(method.input_type),
                message_factory.GetMessageClass(method.output_type),
            )
        return handlers

    def _unary(self, rpc: str, method: Any) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def answer(stream: Stream[Any, Any]) -> None:
            caller, request, rule = await self._received(rpc, method, stream)
            key = (rpc, str((stream.metadata or {}).get("x-idempotency-key", "")))
            reply = self._replies.get(key)
            if reply is None:
                reply = await self._done(method(request, caller))
                remembered = key[1] and not any(
                    word in rpc.replace("GetOrCreate", "") for word in _NOT_REMEMBERED
                )
                if remembered and not (rule and rule.forget):
                    self._replies[key] = reply
                    while len(self._replies) > _REMEMBERED:
                        self._replies.popitem(last=False)
            if rule is not None and rule.effect == "late":
                await asyncio.sleep(rule.seconds)
            await self._faults.thaw()
            if rule is not None and rule.effect == "drop":
                await stream.cancel()
                return
            await stream.send_message(reply)

        return answer

    def _streamed(self, rpc: str, method: Any) -> Callable[[Stream[Any, Any]], Awaitable[None]]:
        async def answer(stream: Stream[Any, Any]) -> None:
            caller, request, rule = await self._received(rpc, method, stream)
            async for reply in method(request, caller):
                await self._faults.thaw()
                if rule is not None and rule.effect == "drop":
                    await stream.cancel()
                    return
                await stream.send_message(reply)

        return answer

    async def _received(
        self, rpc: str, method: Any, stream: Stream[Any, Any]
    ) -> tuple[Caller, Any, Rule | None]:
        request = await stream.recv_message()
        caller = self._caller(dict(stream.metadata or {}))
        self._faults.saw(rpc, caller.name)
        await self._faults.thaw()
        rule = self._faults.take(rpc)
        if rule is not None and rule.effect == "error":
            raise GRPCError(Status[rule.status], rule.message or "as the test wanted")
        if rule is not None and rule.effect == "delay":
            await asyncio.sleep(rule.seconds)
        if method is None:
            raise GRPCError(Status.UNIMPLEMENTED, f"the stand-in does not know {rpc}")
        return caller, request, rule

    def _caller(self, metadata: dict[str, Any]) -> Caller:
        if metadata.get("x-modal-client-type") == str(api_pb2.CLIENT_TYPE_CONTAINER):
            container = self._container(str(metadata.get("x-modal-task-id", "")))
            if container is None:
                raise GRPCError(Status.UNAUTHENTICATED, "no such container")
            return Caller(container)
        secret = self._tokens.get(str(metadata.get("x-modal-token-id", "")))
        if secret is None or secret != metadata.get("x-modal-token-secret"):
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID or secret is wrong: run `modal token new`.")
        return Caller()

    @staticmethod
    async def _done(work: Awaitable[Message]) -> Message:
        try:
            return await work
        except (GRPCError, asyncio.CancelledError):
            raise
        except Exception:
            traceback.print_exc()
            raise
