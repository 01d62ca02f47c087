"""A webhook: JSON sent to an address that was looked at first: https, a public host, no redirect, within a time limit."""

from __future__ import annotations

import http.client
import ipaddress
import os
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tenyson.errors import ConfigError, Problem
from tenyson.telemetry.events import strict_json

TIMEOUT_SECONDS = 10.0
ALLOW_VARIABLE = "TENYSON_WEBHOOK_ALLOW"
"""Comma-separated hosts that may be in a private network, or be this machine itself (then also by http)."""
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class DeliveryError(Exception):
    """The message was not taken. Says nothing of the URL but its host: the path of a webhook is a password."""


@dataclass(frozen=True)
class Webhook:
    """Where messages go.

    Raises:
        ConfigError: not an https URL; http is only for a loopback host that is allowed by name. Or its host or port cannot
            be read.
    """

    url: str = field(repr=False)
    allowed: frozenset[str] = frozenset()
    """Hosts whose addresses are not looked at."""
    timeout_seconds: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError:
            # Not the error's own words, nor as its cause: they repeat what stands where the port should.
            raise ConfigError(
                [Problem("has a host or a port that cannot be read", key="webhook_url")],
                next_step="A port is a number from 1 to 65535; https needs none.",
            ) from None
        local = parts.scheme == "http" and parts.hostname in _LOOPBACK and parts.hostname in self.allowed
        if not parts.hostname or (parts.scheme != "https" and not local):
            raise ConfigError(
                [Problem("must be an https URL", key="webhook_url")],
                next_step=f"For tests on this machine: http to 127.0.0.1 with {ALLOW_VARIABLE}=127.0.0.1.",
            )

    @classmethod
    def of_environment(cls, url: str) -> Webhook:
        """With the hosts that TENYSON_WEBHOOK_ALLOW names. Raises: ConfigError, as the class does."""
        names = os.environ.get(ALLOW_VARIABLE, "").split(",")
        return cls(url, frozenset(name.strip() for name in names if name.strip()))

    @property
    def host(self) -> str:
        """All of the URL that is ever shown."""
        return urlsplit(self.url).hostname or ""

    def send(self, payload: Mapping[str, Any], event_id: str) -> None:
        """POST the payload; the header `X-Tenyson-Event` holds the event id, by which a receiver knows a repetition.

        Raises: DeliveryError: any answer but 2xx, a redirect, a forbidden address, or no answer in time.
        """
        parts = urlsplit(self.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        path = parts.path + (f"?{parts.query}" if parts.query else "") or "/"
        headers = {"Content-Type": "application/json", "X-Tenyson-Event": event_id}
        headers["Host"] = parts.netloc.rpartition("@")[2]
        try:
            with _connected(
                parts.scheme, self.host, self._address(port), port, self.timeout_seconds
            ) as connection:
                connection.request("POST", path, strict_json.dumps(payload).encode(), headers)
                status = connection.getresponse().status
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DeliveryError(str(error) or type(error).__name__) from error
        if not 200 <= status < 300:
            redirected = "; redirects are not followed" if 300 <= status < 400 else ""
            raise DeliveryError(f"HTTP status {status}{redirected}")

    def _address(self, port: int) -> str:
        """The host's address, once it is known to be one of the public Internet; connecting to it asks no second time."""
        found = socket.getaddrinfo(self.host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        if self.host not in self.allowed:
            for address in addresses:
                if not _is_public(address):
                    raise DeliveryError(
                        f"{self.host} is {address}, which is not a public address; {ALLOW_VARIABLE}={self.host} allows it"
                    )
        return addresses[0]


def _is_public(address: str) -> bool:
    ip = ipaddress.ip_address(address.partition("%")[0])
    # Addresses that carry an IPv4 one inside are as public as that.
    inner = (ip.ipv4_mapped or ip.sixtofour) if isinstance(ip, ipaddress.IPv6Address) else None
    return ip.is_global and not ip.is_multicast and (inner is None or inner.is_global)


@contextmanager
def _connected(
    scheme: str, host: str, address: str, port: int, seconds: float
) -> Iterator[http.client.HTTPConnection]:
    """A connection to the address that was looked at, with certificate and Host of the name; cut after `seconds` in all."""
    raw = socket.create_connection((address, port), timeout=seconds)
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    # A server that drips its answer keeps within every single time limit, and could hold us for ever.
    cut = threading.Timer(seconds, _cut, [connection, raw])
    cut.daemon = True
    cut.start()
    try:
        secure = scheme == "https"
        connection.sock = (
            ssl.create_default_context().wrap_socket(raw, server_hostname=host) if secure else raw
        )
        yield connection
    finally:
        cut.cancel()
        connection.close()
        raw.close()


def _cut(connection: http.client.HTTPConnection, raw: socket.socket) -> None:
    with suppress(OSError):
        (connection.sock or raw).shutdown(socket.SHUT_RDWR)
