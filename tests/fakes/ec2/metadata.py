"""The instance metadata service, version 2 only: a question without a session token is refused."""

from __future__ import annotations

import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

PORT = 1338


class Metadata:
    """Of one instance, at its own address."""

    def __init__(self, address: str, instance_id: str) -> None:
        self.notice: dict[str, str] | None = None
        """spot/instance-action, once there is to be an interruption."""
        self.refused = 0
        """Questions without a token."""
        self._tokens: set[str] = set()
        credentials = {
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": "instance", "SecretAccessKey": "instance",
            "Token": "instance", "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400)),
        }  # fmt: skip
        self._answers = {
            "instance-id": lambda: instance_id,
            "spot/instance-action": lambda: json.dumps(self.notice) if self.notice else None,
            "iam/security-credentials/": lambda: "the-profile",
            "iam/security-credentials/the-profile": lambda: json.dumps(credentials),
            "placement/region": lambda: "us-east-1",
        }
        self._server = ThreadingHTTPServer((address, PORT), self._handler())
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        metadata = self

        class Handler(BaseHTTPRequestHandler):
            def do_PUT(self) -> None:
                token = secrets.token_hex(16)
                metadata._tokens.add(token)
                self._send(200, token)

            def do_GET(self) -> None:
                if self.headers.get("X-aws-ec2-metadata-token") not in metadata._tokens:
                    metadata.refused += 1
                    self._send(401, "")
                    return
                path = self.path.removeprefix("/latest/meta-data/")
                answer = metadata._answers.get(path, lambda: None)()
                self._send(404 if answer is None else 200, answer or "")

            def _send(self, status: int, text: str) -> None:
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: Any) -> None:
                pass

        return Handler
