"""HTTP: what a server says of itself."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from tenyson.errors import TaskError

MOST = 4 << 20
"""Bytes of an answer that are read."""
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


def is_local(url: str) -> bool:
    """Whether no proxy may stand between."""
    return urlsplit(url).hostname in LOCAL


def bearer(variable: str | None) -> dict[str, str]:
    """The header that has the value of a variable. Raises: TaskError: it is not set."""
    if variable is None:
        return {}
    key = os.environ.get(variable)
    if not key:
        raise TaskError(
            f"the variable {variable} is not set",
            place="task.args.api_key_env",
            next_step="Export it where the job runs, or take the setting out.",
        )
    return {"Authorization": f"Bearer {key}"}


def get_json(url: str, path: str, headers: Mapping[str, str], seconds: float) -> dict[str, Any]:
    """The JSON object at a path of a server.

    Raises:
        OSError: it cannot be had. ValueError: it is no JSON object.
    """
    base = url.replace("ws://", "http://", 1).replace("wss://", "https://", 1).rstrip("/")
    request = urllib.request.Request(base + path, headers=dict(headers))
    handlers = [urllib.request.ProxyHandler({})] if is_local(url) else []
    with urllib.request.build_opener(*handlers).open(request, timeout=seconds) as answer:
        found = json.loads(answer.read(MOST))
    if not isinstance(found, dict):
        raise ValueError(f"{path} is no JSON object")
    return found
