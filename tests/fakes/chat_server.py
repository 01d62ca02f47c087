"""An OpenAI-compatible chat endpoint on loopback. It counts, and can be told to refuse, to limit, to hang and to break."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = str | Mapping[str, Any]
"""A text, or fields of the message: content, tool_calls, reasoning_content; `finish_reason` and `usage` beside them."""
ECHO: Callable[[dict[str, Any]], Answer] = lambda body: str(body["messages"][-1]["content"])  # noqa: E731


class Refusal(Exception):
    """Raised by an answer's function: a status, a message and a code."""


class ChatServer:
    """Answers /chat/completions by a function of the request's body."""

    Refusal = Refusal

    def __init__(
        self,
        answer: Callable[[dict[str, Any]], Answer] = ECHO,
        *,
        models: tuple[str, ...] = ("tiny",),
        key: str | None = None,
        seconds: float = 0.0,
        unknown_parameters: tuple[str, ...] = (),
    ) -> None:
        self.requests: list[dict[str, Any]] = []
        """Bodies, in the order in which they came, those that failed included."""
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.faults: deque[str] = deque()
        """For the next requests: "ok", a status ("503"), one with seconds to wait ("429 0.2"), "drop", "hang", "garbage", "cut", "odd"."""
        self.exhausted: str | None = None
        """What x-ratelimit-reset-requests says of answers, beside 0 remaining requests."""
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self.answer, self.models, self.key, self.seconds = answer, models, key, seconds
        self.unknown_parameters = unknown_parameters
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def log_message(self, *_: object) -> None:
                pass

            def do_GET(self) -> None:
                self._send(200, {"data": [{"id": name, "object": "model"} for name in server.models]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with server._lock:
                    server.requests.append(body)
                    server.headers.append({name.lower(): value for name, value in self.headers.items()})
                    server.times.append(time.monotonic())
                    server._at_once += 1
                    server.most_at_once = max(server.most_at_once, server._at_once)
                    fault = server.faults.popleft() if server.faults else None
                try:
                    self._reply(body, fault)
                finally:
                    with server._lock:
                        server._at_once -= 1

            def _reply(self, body: dict[str, Any], fault: str | None) -> None:
                if not self.path.endswith("/v1/chat/completions"):
                    self._refuse(404, "Not Found")
                elif server.key and self.headers.get("Authorization") != f"Bearer {server.key}":
                    self._refuse(401, f"Incorrect API key provided: {self.headers.get('Authorization')}.")
                elif body["model"] not in server.models:
                    self._refuse(404, f"The model `{body['model']}` does not exist.")
                elif odd := next((name for name in server.unknown_parameters if name in body), None):
                    self._refuse(400, f"Unsupported parameter: '{odd}' is not supported with this model.")
                elif fault not in (None, "ok"):
                    self._fail(str(fault))
                else:
                    server._over.wait(server.seconds)
                    headers = {}
                    if server.exhausted:
                        headers = {
                            "x-ratelimit-remaining-requests": "0",
                            "x-ratelimit-reset-requests": server.exhausted,
                        }
                        server.exhausted = None
                    try:
                        content = completion(body, server.answer(body))
                    except Refusal as refusal:
                        self._refuse(*refusal.args)
                    else:
                        self._send(200, content, headers)

            def _fail(self, fault: str) -> None:
                what, _, wait = fault.partition(" ")
                if what == "hang":
                    server._over.wait(60)
                elif what == "garbage":
                    self._send(200, "<html>It works!</html>")
                elif what == "odd":
                    self._send(200, {"object": "chat.completion", "choices": []})
                elif what == "cut":
                    self.send_response(200)
                    self.send_header("Content-Length", "1000")
                    self.end_headers()
                    self.wfile.write(b'{"choices": [')
                    self.close_connection = True
                elif what != "drop":
                    self._refuse(int(what), "Slow down.", headers={"Retry-After": wait} if wait else {})
                if what in ("hang", "drop"):
                    self.close_connection = True

            def _refuse(
                self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] = {}
            ) -> None:
                self._send(status, {"error": {"message": message, "type": "error", "code": code}}, headers)

            def _send(self, status: int, content: Any, headers: Mapping[str, str] = {}) -> None:
                data = content.encode() if isinstance(content, str) else json.dumps(content).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, *_: object) -> None:
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> ChatServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._server.server_close()


def completion(body: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """A whole answer; a token is a word, where `usage` is not given."""
    fields = {"content": answer} if isinstance(answer, str) else dict(answer)
    words = sum(len(str(message.get("content") or "").split()) for message in body["messages"])
    usage = fields.pop(
        "usage",
        {"prompt_tokens": words, "completion_tokens": len(str(fields.get("content") or "call").split())},
    )
    finish = fields.pop("finish_reason", "tool_calls" if fields.get("tool_calls") else "stop")
    message = {"role": "assistant", "content": None, **fields}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 0,
        "model": f"{body['model']}-2026-11-01",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        **({"usage": usage} if usage else {}),
    }


def tool_call(name: str, arguments: Mapping[str, Any] | str, call: str = "call_a") -> dict[str, Any]:
    """A call as the API writes it; `arguments` as text stay as they are."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"id": call, "type": "function", "function": {"name": name, "arguments": text}}
