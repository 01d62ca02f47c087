"""One connection to the endpoint: requests are checked before anybody answers them."""

from __future__ import annotations

import hmac
import json
import re
import socket
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import Any

from tenyson.engines.endpoint.answer import Answer
from tenyson.engines.endpoint.api_error import ApiError
from tenyson.engines.endpoint.parameters import read_chat, read_completion
from tenyson.engines.endpoint.request import Request
from tenyson.engines.endpoint.responder import Line, Responder

HOST = "127.0.0.1"
LARGEST_BODY = 16 * 2**20
"""Bytes. A conversation that is longer fits no model."""
_DRAIN_SECONDS = 10.0
_READERS: Mapping[str, Callable[[Mapping[str, Any]], Request]] = {
    "chat/completions": read_chat,
    "completions": read_completion,
}


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP with one client."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "tenyson", ""
    timeout = 120
    """Seconds for the client to send what it has begun, or its next request."""
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._respond(self._list_models)

    def do_POST(self) -> None:
        self._respond(self._generate)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Nothing is logged: a header may hold a key."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What http.server itself refuses, in OpenAI's form."""
        del explain
        self.close_connection = True
        self._send_json(ApiError(message or HTTPStatus(code).phrase, status=code).body(), code)
        self._linger()

    def _respond(self, work: Any) -> None:
        self._unread = int(self.headers.get("Content-Length", "0") or 0) if self._has_length() else 0
        if not self._has_length():  # where the body ends, and the next request begins, nobody knows
            self.close_connection = True
        try:
            self._check_host()
            responder, path = self._route()
            self._check_key(responder)
            work(responder, path)
        except ApiError as error:
            self._refuse(error)
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception as error:
            self._refuse(ApiError(f"the endpoint failed: {type(error).__name__}", status=500))

    def _check_host(self) -> None:
        """Another name than loopback's means that a browser was led here by a foreign page."""
        name = re.sub(r":\d+\Z", "", self.headers.get("Host", ""))
        if name not in (HOST, "localhost"):
            raise ApiError("this endpoint is for this machine alone", status=403, code="foreign_host")

    def _route(self) -> tuple[Responder, str]:
        path = self.path.partition("?")[0]
        found = re.fullmatch(r"(?:/(?P<session>[^/]+))?/v1/(?P<rest>.+)", path)
        responder = self.server.responders.get(found["session"] or "") if found else None  # type: ignore[attr-defined]
        if found is None or responder is None:
            raise ApiError("there is nothing at this address", status=404, code="unknown_url")
        return responder, found["rest"]

    def _check_key(self, responder: Responder) -> None:
        kind, _, key = self.headers.get("Authorization", "").partition(" ")
        same = hmac.compare_digest(key.strip().encode("utf-8", "replace"), responder.key.encode())
        if kind.lower() != "bearer" or not same:
            raise ApiError("the API key is missing or wrong", status=401, code="invalid_api_key")

    def _list_models(self, responder: Responder, path: str) -> None:
        model = {"id": responder.model, "object": "model", "created": 0, "owned_by": "tenyson"}
        if path == "models":
            self._send_json({"object": "list", "data": [model]})
        elif path == f"models/{responder.model}":
            self._send_json(model)
        else:
            raise self._no_such(path, "GET")

    def _generate(self, responder: Responder, path: str) -> None:
        reader = _READERS.get(path)
        if reader is None:
            raise self._no_such(path, "POST")
        request = reader(self._body())
        answer = responder.answer(request, Line(self.connection))
        if request.options.stream:
            self._send_stream(answer)
        else:
            self._send_json(answer.body())

    def _no_such(self, path: str, method: str) -> ApiError:
        other = path in _READERS or path == "models"
        status, text = (405, f"not by {method}") if other else (404, "there is nothing at this address")
        return ApiError(text, status=status, code="unknown_url")

    def _has_length(self) -> bool:
        plain = re.fullmatch(r"\d{1,18}", self.headers.get("Content-Length", "0")) is not None
        return plain and "Transfer-Encoding" not in self.headers

    def _body(self) -> Mapping[str, Any]:
        if "Content-Length" not in self.headers or not self._has_length():
            raise ApiError("a request needs a Content-Length", status=411)
        if self._unread > LARGEST_BODY:
            raise ApiError(
                f"the body has {self._unread:,} bytes; the limit is {LARGEST_BODY:,}",
                status=413,
                code="request_too_large",
            )
        data = self.rfile.read(self._unread)
        if len(data) < self._unread:
            raise ConnectionError
        self._unread = 0
        try:
            body = json.loads(data.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ApiError(f"the body is no JSON in UTF-8: {error}") from None
        if not isinstance(body, dict):
            raise ApiError("the body must be a JSON object")
        return body

    def _refuse(self, error: ApiError) -> None:
        try:
            self._drain()
            self._send_json(error.body(), error.status)
            if self.close_connection:
                self._linger()
        except OSError:
            self.close_connection = True

    def _drain(self) -> None:
        """Read the rest of the request, so that the next one begins where it does; not for long."""
        until = time.monotonic() + _DRAIN_SECONDS
        while 0 < self._unread <= LARGEST_BODY and time.monotonic() < until:
            data = self.rfile.read1(min(self._unread, 1 << 20))
            if not data:
                break
            self._unread -= len(data)
        if self._unread:
            self.close_connection = True

    def _linger(self) -> None:
        """Close only once the client has: what it still sends to a closed connection makes it lose the answer."""
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_WR)
        until = time.monotonic() + _DRAIN_SECONDS
        while (left := until - time.monotonic()) > 0:
            self.connection.settimeout(left)
            if not self.rfile.read1(1 << 20):
                break

    def _send_json(self, body: Mapping[str, Any], status: int = 200) -> None:
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        if status >= 400:
            # Clients would ask again, and the model would see a request that nobody made.
            self.send_header("x-should-retry", "false")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(data)

    def _send_stream(self, answer: Answer) -> None:
        """Server-sent events. They come once the replies are whole."""
        lines = [f"data: {json.dumps(event, ensure_ascii=False)}\n\n" for event in answer.events()]
        data = "".join([*lines, "data: [DONE]\n\n"]).encode("utf-8", "replace")
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
