"""Notifications of a failed step: a log file, a webhook, telemetry. None of them can harm the pipeline."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tenyson.errors import ConfigError, Problem
from tenyson.jobs.result import JobResult
from tenyson.telemetry.events import Notice

if TYPE_CHECKING:
    from tenyson.telemetry.dispatch import Telemetry

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Notifier:
    """Tells whoever is configured that a step failed.

    Raises:
        ConfigError: the webhook is not an https URL.
    """

    log_file: str | Path | None = None
    webhook_url: str | None = None
    telemetry: Telemetry | None = None

    def __post_init__(self) -> None:
        if self.webhook_url is not None:
            parts = urlsplit(self.webhook_url)
            if parts.scheme != "https" or not parts.hostname:
                raise ConfigError([Problem("must be an https URL", key="webhook_url")])

    def failed(self, label: str, result: JobResult) -> None:
        """Send the news everywhere. Never raises: what cannot be told is a warning on stderr."""
        message = f"step {label} ({result.run_id}) {result.status}: {result.failure_reason}"
        if self.log_file is not None:
            try:
                self._write(message)
            except OSError as error:
                _warn(f"the failure could not be written to {self.log_file}: {error.strerror}")
        if self.webhook_url is not None:
            # The path of a webhook is a password: only its host is ever shown.
            try:
                post(self.webhook_url, {"text": message, "label": label, **_fields(result)})
            except (OSError, HTTPException, ValueError) as error:
                why = getattr(error, "reason", None) or error
                _warn(f"the webhook on {urlsplit(self.webhook_url).hostname} was not reached: {why}")
        if self.telemetry is not None:
            self.telemetry.emit(Notice(run_id=result.run_id, level="error", message=message))

    def _write(self, message: str) -> None:
        path = Path(str(self.log_file))
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {message}\n")


def post(url: str, body: dict[str, Any]) -> None:
    """POST JSON, following no redirect. Raises: OSError (URLError among them), HTTPException."""
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.build_opener(_NoRedirect).open(request, timeout=TIMEOUT_SECONDS):
        pass


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _fields(result: JobResult) -> dict[str, Any]:
    names = ("run_id", "status", "failure_reason", "instance_id", "spot_interruption")
    return {name: getattr(result, name) for name in names}


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)  # noqa: T201
