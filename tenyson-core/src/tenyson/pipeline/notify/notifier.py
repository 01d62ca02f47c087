"""Notifications: what is told about a pipeline, and to whom. The log file at once, webhooks through the outbox."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tenyson.core.stdio import say
from tenyson.jobs.result import JobResult
from tenyson.pipeline.notify.webhook import Webhook
from tenyson.telemetry.events import Notice

if TYPE_CHECKING:
    from tenyson.pipeline.journal.transaction import Entry
    from tenyson.telemetry.dispatch import Telemetry

WEBHOOK_VARIABLE = "TENYSON_WEBHOOK_URL"
SLACK_VARIABLE = "TENYSON_SLACK_WEBHOOK_URL"
"""The URLs are passwords: they are given in the environment, and kept nowhere."""
EVENT_ID_LENGTH = 64
"""Of the outbox's column."""


@dataclass(frozen=True)
class Notifier:
    """Tells whoever is configured how a pipeline fares. It cannot harm the pipeline."""

    log_file: str | Path | None = None
    channels: Mapping[str, Webhook] = field(default_factory=dict)
    """`webhook` gets all fields as JSON; `slack` gets what Slack's incoming webhooks, and those like them, take."""
    telemetry: Telemetry | None = None

    @classmethod
    def make(
        cls,
        log_file: str | Path | None = None,
        webhook_url: str | None = None,
        slack_webhook_url: str | None = None,
        telemetry: Telemetry | None = None,
    ) -> Notifier:
        """The URLs not given are those of TENYSON_WEBHOOK_URL and TENYSON_SLACK_WEBHOOK_URL. Raises: ConfigError."""
        urls = {
            "webhook": webhook_url or os.environ.get(WEBHOOK_VARIABLE),
            "slack": slack_webhook_url or os.environ.get(SLACK_VARIABLE),
        }
        channels = {name: Webhook.of_environment(url) for name, url in urls.items() if url}
        return cls(log_file, channels, telemetry)

    def failed(
        self, entry: Entry, pipeline: str, label: str, attempt: int, result: JobResult, next_step: str
    ) -> None:
        """Put the news of a failed attempt into the outbox, in the transaction that records the failure."""
        message = failure_in_words(label, result)
        fields = {
            "event": "step_failed", "pipeline": pipeline, "label": label, "attempt": attempt,
            **{name: getattr(result, name) for name in ("run_id", "status", "failure_reason", "instance_id", "spot_interruption")},
        }  # fmt: skip
        self._post(entry, f"{pipeline}/{label}/{attempt}/failed", f"{message}\n{next_step}", fields)

    def finished(self, entry: Entry, pipeline: str, status: str, fence: int) -> None:
        """The same for the end of the pipeline."""
        fields = {"event": "pipeline_ended", "pipeline": pipeline, "status": status}
        self._post(entry, f"{pipeline}/{fence}/ended", f"pipeline {pipeline} ended: {status}", fields)

    def log(self, result: JobResult, label: str) -> None:
        """Write a failure to the log file and to telemetry. Never raises: what cannot be told is a warning on stderr."""
        message = failure_in_words(label, result)
        if self.log_file is not None:
            try:
                path = Path(self.log_file)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8", errors="replace") as log:
                    log.write(f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} {message}\n")
            except OSError as error:
                say(f"warning: the failure could not be written to {self.log_file}: {error.strerror}")
        if self.telemetry is not None:
            self.telemetry.emit(Notice(run_id=result.run_id, level="error", message=message))

    def _post(self, entry: Entry, event_id: str, text: str, fields: Mapping[str, Any]) -> None:
        for channel in self.channels:
            entry.post(
                _fitting(event_id),
                channel,
                {"text": text} if channel == "slack" else {"text": text, **fields},
            )


def _fitting(event_id: str) -> str:
    """As it is, where the outbox and a header can hold it; else its SHA-256, which is the same every time as well."""
    fits = len(event_id) <= EVENT_ID_LENGTH and event_id.isascii() and event_id.isprintable()
    return event_id if fits else sha256(event_id.encode()).hexdigest()


def failure_in_words(label: str, result: JobResult) -> str:
    """One message about a failed or stopped step."""
    return f"step {label} ({result.run_id}) {result.status}: {result.failure_reason or result.stop_reason}"
