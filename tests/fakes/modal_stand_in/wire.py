"""The wire: every gRPC call of a client or a container passes here, for tokens, faults, and replies that are given once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from modal_proto.api_grpc import ModalClientBase

TOKEN = ("ak-stand-in", "as-stand-in")
"""The one token that is good."""


class Faults:
    """What goes wrong on request."""

    def __init__(self) -> None:
        self._frozen_until = 0.0
        self._rules: list[dict[str, Any]] = []

    def clear(self) -> None:
        """All is well again."""
        self._frozen_until = 0.0
        self._rules.clear()

    def freeze(self, seconds: float) -> None:
        """Nothing is answered for so long."""
        self._frozen_until = time.monotonic() + seconds

    def add(self, rpc: str, times: int, status: str, message: str, after: bool) -> None:
        """The next calls of that name fail: before their work is done, or after it, as when a reply is lost."""
        self._rules.append({"rpc": rpc, "times": times, "status": status, "message": message, "after": after})

    async def thaw(self) -> None:
        """Returns once answers are given again."""
        while (left := self._frozen_until - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.2))

    def strike(self, rpc: str, *, after: bool) -> None:
        """Raises: GRPCError: a rule says so."""
        for rule in self._rules:
            if rule["rpc"] == rpc and rule["after"] is after and rule["times"] > 0:
                rule["times"] -= 1
                raise GRPCError(Status[rule["status"]], rule["message"] or "told to fail")


class Wire:
    """One endpoint: the one for clients, or the one of a single container.

    Args:
        cloud: answers; its method of a call's name takes (request, task).
        task: the container whose endpoint this is; None for clients, which need a token.
    """

    def __init__(self, cloud: Any, faults: Faults, task: Any = None) -> None:
        self._cloud = cloud
        self._faults = faults
        self._task = task
        self._given: dict[str, Any] = {}

    def __mapping__(self) -> dict[str, Handler]:
        """As grpclib asks for it."""

        async def nothing(_self: Any, _stream: Any) -> None: ...

        names = ModalClientBase.__abstractmethods__
        model = type("Model", (ModalClientBase,), dict.fromkeys(names, nothing))
        return {
            path: Handler(
                self._answer(path.rpartition("/")[2], one.cardinality),
                one.cardinality,
                one.request_type,
                one.reply_type,
            )
            for path, one in model().__mapping__().items()
        }

    def _answer(self, name: str, cardinality: Cardinality) -> Callable[[Any], Any]:
        async def answer(stream: Any) -> None:
            request = await stream.recv_message()
            await self._faults.thaw()
            self._check(stream)
            method = getattr(self._cloud, name, None)
            if method is None:
                raise GRPCError(Status.UNIMPLEMENTED, f"the stand-in has no {name}")
            self._faults.strike(name, after=False)
            if cardinality is Cardinality.UNARY_STREAM:
                async for part in method(request, self._task):
                    await stream.send_message(part)
                return
            # The client repeats a call with the same key where it got no reply; the work is done once.
            key = stream.metadata.get("x-idempotency-key")
            reply = self._given.get(key)
            if reply is None:
                reply = await method(request, self._task)
                if key is not None and name not in ("FunctionGetOutputs", "ContainerHeartbeat"):
                    self._given[key] = reply
            await self._faults.thaw()
            self._faults.strike(name, after=True)
            await stream.send_message(reply)

        return answer

    def _check(self, stream: Any) -> None:
        if self._task is not None:
            return
        given = (stream.metadata.get("x-modal-token-id"), stream.metadata.get("x-modal-token-secret"))
        if given != TOKEN:
            raise GRPCError(Status.UNAUTHENTICATED, "Token ID is malformed or not known")
