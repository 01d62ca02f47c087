"""The endpoint's HTTP server, on loopback only: who may ask what, and what is sent."""

from __future__ import annotations

import socket
import threading
from http.server import ThreadingHTTPServer
from typing import Any

from tenyson.engines.endpoint.handler import HOST, Handler
from tenyson.engines.endpoint.responder import Responder

_POLL_SECONDS = 0.05
_LEAVING_SECONDS = 2.0


class EndpointServer:
    """Serves responders, each under a path of its own, until it is closed.

    Args:
        port: 0 for any that is free.

    Raises:
        OSError: the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._responders: dict[str, Responder] = {}
        self._server = _Server(self._responders, port)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), name="tenyson-endpoint", daemon=True
        )
        self._thread.start()

    def add(self, path: str, responder: Responder) -> str:
        """Serve a responder under a path such as "abc", or "" for the root; returns its base URL."""
        self._responders[path] = responder
        prefix = f"/{path}" if path else ""
        return f"http://{HOST}:{self._server.server_port}{prefix}/v1"

    def remove(self, path: str) -> None:
        """Stop serving a responder."""
        self._responders.pop(path, None)

    def close(self) -> None:
        """End the server, its connections and its threads."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self._server.hang_up()


class _Server(ThreadingHTTPServer):
    """One thread for each connection."""

    daemon_threads = True
    request_queue_size = 1024

    def __init__(self, responders: dict[str, Responder], port: int) -> None:
        self.responders = responders
        self._open: dict[threading.Thread, socket.socket] = {}
        self._lock = threading.Lock()
        super().__init__((HOST, port), Handler)

    def server_bind(self) -> None:
        """As a TCP server does: HTTPServer asks the network for this machine's name besides."""
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = HOST, self.server_address[1]

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        thread = threading.current_thread()
        with self._lock:
            self._open[thread] = request
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                del self._open[thread]

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that broke off: its client knows."""

    def hang_up(self) -> None:
        """Close the connections that are open, and wait for their threads."""
        with self._lock:
            found = dict(self._open)
        for connection in found.values():
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue
        for thread in found:
            thread.join(_LEAVING_SECONDS)
