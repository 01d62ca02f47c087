"""Redaction: values of secrets are struck from events before any sink sees them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from tenyson.telemetry.events import Event

MASK = "***"

# Shorter values ("1", "true") would strike out ordinary text.
_MIN_LENGTH = 8
_SECRET_NAME = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|(^|_|API)KEY)$", re.IGNORECASE
)


class Redactor:
    """Replaces secret values in every string of an event by `***`."""

    def __init__(self, environ: Mapping[str, str], *, names: Iterable[str] = ()) -> None:
        """`names`: variables that hold secrets whatever they are called; names such as HF_TOKEN are known."""
        named = set(names)
        values = {
            value
            for name, value in environ.items()
            if len(value) >= _MIN_LENGTH and (name in named or _SECRET_NAME.search(name))
        }
        # Longest first: one secret may be part of another.
        self._secrets = sorted(values, key=len, reverse=True)

    def __call__(self, event: Event) -> Event:
        """The event itself, or a copy without secrets."""
        fields = vars(event)
        if not any(map(self._holds_secret, fields.values())):
            return event
        return replace(event, **{name: self._clean(value) for name, value in fields.items()})

    def _holds_secret(self, value: Any) -> bool:
        # Every field of every rollout comes through here: the common types go first.
        if isinstance(value, str):
            return any(secret in value for secret in self._secrets) if self._secrets else False
        if value is None or isinstance(value, (int, float)):
            return False
        if isinstance(value, Mapping):
            return any(map(self._holds_secret, value)) or any(map(self._holds_secret, value.values()))
        return isinstance(value, (list, tuple)) and any(map(self._holds_secret, value))

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            for secret in self._secrets:
                value = value.replace(secret, MASK)
            return value
        if isinstance(value, Mapping):
            return {self._clean(key): self._clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        return value
