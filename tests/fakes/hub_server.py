"""A Hub on loopback, as far as huggingface_hub's client talks to it: repositories, commits, files. It can be told to fail."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlparse


class HubServer:
    """Keeps every commit of every repository in memory."""

    def __init__(self) -> None:
        self.commits: dict[str, list[tuple[str, str, dict[str, bytes]]]] = {}
        """By repository: commit id, message, files."""
        self.private: dict[str, bool] = {}
        """By repository, as it was asked for."""
        self.tokens: list[str | None] = []
        self.failures = 0
        """So many commits are answered with 503."""
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                self._answer(hub.post(urlparse(self.path).path, self._body(), self.headers))

            def do_HEAD(self) -> None:
                self._answer(hub.get(urlparse(self.path).path), body=False)

            def do_GET(self) -> None:
                self._answer(hub.get(urlparse(self.path).path))

            def _body(self) -> bytes:
                if self.headers.get("Transfer-Encoding") == "chunked":
                    content = b""
                    while size := int(self.rfile.readline(), 16):
                        content += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                    return content
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def _answer(self, answer: tuple[int, bytes, dict[str, str]], *, body: bool = True) -> None:
                status, content, headers = answer
                self.send_response(status)
                for name, value in ({"Content-Type": "application/json"} | headers).items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if body:
                    self.wfile.write(content)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def files(self, repo: str) -> dict[str, bytes]:
        """What the newest commit holds."""
        return self.commits[repo][-1][2]

    def post(self, path: str, body: bytes, headers) -> tuple[int, bytes, dict[str, str]]:
        self.tokens.append(headers.get("Authorization"))
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if name in self.commits:
                return 409, _json({"error": "exists", "url": f"{self.url}/{name}"}), {}
            self.private[name] = asked.get("private", False) or asked.get("visibility") == "private"
            self._commit(name, "initial commit", {})
            return 200, _json({"url": f"{self.url}/{name}"}), {}
        if path == "/api/validate-yaml":
            return 200, _json({"errors": [], "warnings": []}), {}
        if match := re.fullmatch(r"/api/models/(.+)/preupload/(.+)", path):
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            return 200, _json({"files": files}), {}
        if match := re.fullmatch(r"/api/models/(.+)/commit/(.+)", path):
            if self.failures:
                self.failures -= 1
                return 503, _json({"error": "down for a moment"}), {}
            return self._take_commit(match[1], body)
        return 404, b"{}", {}

    def get(self, path: str) -> tuple[int, bytes, dict[str, str]]:
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            found = self._find(match[1], unquote(match[2] or "main"))
            if found is None:
                return 404, _json({"error": "no such revision"}), {"X-Error-Code": "RevisionNotFound"}
            siblings = [{"rfilename": name} for name in found[2]]
            return 200, _json({"id": match[1], "sha": found[0], "siblings": siblings, "private": True}), {}
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)(?:/.*)?", path):
            found = self._find(match[1], unquote(match[2]))
            if found is None:
                return 404, _json({"error": "no such revision"}), {"X-Error-Code": "RevisionNotFound"}
            listed = [
                {"type": "file", "path": name, "size": len(content), "oid": _oid(content)}
                for name, content in found[2].items()
            ]
            return 200, _json(listed), {}
        if match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            found = self._find(match[1], unquote(match[2]))
            name = unquote(match[3])
            if found is None or name not in found[2]:
                return 404, b"", {"X-Error-Code": "EntryNotFound"}
            return 200, found[2][name], {"ETag": f'"{_oid(found[2][name])}"', "X-Repo-Commit": found[0]}
        return 404, b"{}", {}

    def _take_commit(self, repo: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        files, message = dict(self.files(repo)), ""
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header":
                message = value["summary"]
            elif entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "deletedFile":
                files.pop(value["path"])
        oid = self._commit(repo, message, files)
        url = f"{self.url}/{repo}/commit/{oid}"
        return 200, _json({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""}), {}

    def _commit(self, repo: str, message: str, files: dict[str, bytes]) -> str:
        history = self.commits.setdefault(repo, [])
        oid = hashlib.sha1(f"{repo}{len(history)}".encode()).hexdigest()
        history.append((oid, message, files))
        return oid

    def _find(self, repo: str, revision: str) -> tuple[str, str, dict[str, bytes]] | None:
        history = self.commits.get(repo, [])
        if revision == "main":
            return history[-1] if history else None
        return next((commit for commit in history if commit[0] == revision), None)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
