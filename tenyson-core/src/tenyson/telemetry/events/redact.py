"""Redaction: secrets are struck from events before any sink sees them, by exact value, by key name and by pattern."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import orjson

from tenyson.telemetry.events import Event, MetricsLogged, RolloutFinished
from tenyson.telemetry.events.encoder import holds

if TYPE_CHECKING:
    from tenyson.config.schema import Config

MASK = "***"

# Shorter values ("1", "true") would strike out ordinary text.
_MIN_LENGTH = 8
_SECRET_VARIABLE = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|(^|_|API)KEY)$", re.IGNORECASE
)
_SECRET_KEY = re.compile(
    r"(^|_)(api_?key|secret|secret_key|access_key|private_key|auth_?key|password|passwd|passphrase|credentials?"
    r"|authorization|(hf|hub|api|auth|access|session|refresh|bearer|wandb|github|modal|aws)_token)$|^token$",
    re.IGNORECASE,
)
"""Keys such as `eos_token` are none."""
_SHORTEST_PATTERN = 16
_PATTERN = re.compile(
    r"hf_[A-Za-z0-9]{30,}"
    r"|(?<![A-Za-z0-9])sk-[A-Za-z0-9_-]{20,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"
    r"|gh[opsur]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{22,}|glpat-[A-Za-z0-9_-]{20,}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,}"
    r"|AIza[A-Za-z0-9_-]{35}"
    r"|wandb_v\d_[A-Za-z0-9_]{20,}"
    r"|\ba[ks]-[A-Za-z0-9]{20,}"
    r"|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?<=[Bb]earer )[A-Za-z0-9._~+/=-]{16,}"
    r"|(?<=://)[^\s:/@]*:[^\s/@]+(?=@)",
    re.DOTALL,
)
"""Tokens of Hugging Face, OpenAI and its kin, AWS, GitHub, GitLab, Slack, Google, W&B, Modal; JSON web tokens, private
keys, bearer headers, and the user and password of a URL."""
_MODEL_TEXT = frozenset({"prompt", "completion"})
"""What a model reads and writes is data: only the exact values of secrets are struck from it."""
_DATA = frozenset({"info", "components", "values", "metrics", "verdicts"})
"""Mappings whose keys are a task's own: a game may well call its answer "secret"."""


class Redactor:
    """Replaces secrets in an event by `***`."""

    def __init__(self, environ: Mapping[str, str], *, names: Iterable[str] = ()) -> None:
        """`names`: variables that hold secrets whatever they are called; names such as HF_TOKEN are known."""
        named = set(names)
        values = {
            value
            for name, value in environ.items()
            if len(value) >= _MIN_LENGTH and (name in named or _SECRET_VARIABLE.search(name))
        }
        # Longest first: one secret may be part of another.
        self._secrets = sorted(values, key=len, reverse=True)
        # As JSON has them: in UTF-8 by orjson, in ASCII by the standard library.
        forms = {orjson.dumps(secret)[1:-1] for secret in values if _is_unicode(secret)}
        self._encoded = forms | {json.dumps(secret).encode()[1:-1] for secret in values}

    def __call__(self, event: Event) -> Event:
        """The event itself, or a copy without secrets."""
        if self.may_hold_secret(event):
            values = ((field.name, getattr(event, field.name)) for field in fields(event))
            return replace(event, **{name: self._clean_field(name, value) for name, value in values})
        return event

    def batch(self, events: Sequence[Event], lines: bytes | memoryview) -> Sequence[Event]:
        """The events of a batch without secrets: the very same where there are none, as nearly always.

        `lines` are the events as JSON, in which their texts are searched for the values of secrets all at once.
        """
        for secret in self._encoded:
            if holds(lines, secret):
                break
        else:
            if not any(map(self._holds_more_than_values, events)):
                return events
        return [self(event) for event in events]

    def clean(self, value: Any) -> Any:
        """A JSON-like value without secrets, by exact value, by key name and by pattern."""
        return self._clean(value, keys=True)

    def may_hold_secret(self, event: Event) -> bool:
        """Whether an event holds the value of a secret, a key that names one, or what looks like one."""
        for name, value in vars(event).items():
            if name in _MODEL_TEXT:
                if self._holds_value(value):
                    return True
            elif self._holds_secret(value, keys=name not in _DATA):
                return True
        return False

    def _holds_more_than_values(self, event: Event) -> bool:
        # The two kinds that come by the thousand hold numbers, a task's own names, and what an environment tells.
        if event.__class__ is MetricsLogged:
            return False
        if event.__class__ is RolloutFinished:
            told = [one for one in (event.info, event.errors, event.verdicts, event.tool_calls) if one]
            return bool(told) and self._holds_secret(told, keys=False)
        return self.may_hold_secret(event)

    def text(self, text: str) -> str:
        """A line of text without secrets, by exact value and by pattern."""
        return _PATTERN.sub(MASK, self._strike_values(text))

    def _holds_value(self, text: str) -> bool:
        return any(secret in text for secret in self._secrets)

    def _holds_secret(self, value: Any, *, keys: bool) -> bool:
        if isinstance(value, str):
            if len(value) < _MIN_LENGTH:
                return False
            if self._secrets and self._holds_value(value):
                return True
            return len(value) >= _SHORTEST_PATTERN and _PATTERN.search(value) is not None
        if value is None or isinstance(value, (int, float)):
            return False
        if isinstance(value, Mapping):
            for key, item in value.items():
                if keys and _is_secret_key(key) and item is not None:
                    return True
                if self._holds_secret(item, keys=keys and key not in _DATA) or self._holds_secret(
                    key, keys=False
                ):
                    return True
            return False
        if isinstance(value, (list, tuple)):
            return any(self._holds_secret(item, keys=keys) for item in value)
        return False

    def _clean_field(self, name: str, value: Any) -> Any:
        if name in _MODEL_TEXT:
            return self._strike_values(value)
        return self._clean(value, keys=name not in _DATA)

    def _clean(self, value: Any, *, keys: bool) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {
                self._clean(key, keys=False): MASK
                if keys and _is_secret_key(key) and item is not None
                else self._clean(item, keys=keys and key not in _DATA)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple)):
            return [self._clean(item, keys=keys) for item in value]
        return value

    def _strike_values(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


def redactor_of(config: Config | None) -> Redactor:
    """The redactor of a job: it knows the variables that the configuration names, and those that sound like secrets."""
    if config is None:
        return Redactor(os.environ)
    named = (
        config.wandb.api_key_env,
        config.hub.token_env,
        config.endpoint.api_key_env,
        *config.task.secrets,
    )
    return Redactor(os.environ, names=filter(None, named))


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a variable of the environment may hold any bytes
        return False
    return True


def _is_secret_key(key: Any) -> bool:
    return isinstance(key, str) and _SECRET_KEY.search(key) is not None
