"""The instance metadata service, by which AWS announces that it takes a spot instance back."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Mapping

IMDS_VARIABLE = "AWS_EC2_METADATA_SERVICE_ENDPOINT"
"""As boto3 calls it."""
IMDS = "http://169.254.169.254"


class Metadata:
    """Version 2: each question with a session token."""

    def __init__(self, address: str) -> None:
        self._address = address.rstrip("/")
        self._token = ""
        self._until = 0.0

    def get(self, path: str) -> str | None:
        """None where there is no such thing. Raises: OSError: the service does not answer."""
        if time.monotonic() > self._until:
            self._token = self._ask(
                "PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
            )
            self._until = time.monotonic() + 240
        try:
            return self._ask("GET", f"/latest/meta-data/{path}", {"X-aws-ec2-metadata-token": self._token})
        except urllib.error.HTTPError as error:
            if error.code == 401:
                self._until = 0.0
            return None

    def _ask(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        request = urllib.request.Request(self._address + path, method=method, headers=dict(headers))
        with urllib.request.urlopen(request, timeout=3) as answer:
            text: str = answer.read().decode()
            return text
