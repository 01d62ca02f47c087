"""Names: the tags by which everything of ours is found again, and the tokens by which AWS knows one request from two."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

PREFIX = "tenyson:"
OURS = f"{PREFIX}managed"
RUN = f"{PREFIX}run"
ATTEMPT = f"{PREFIX}attempt"
OWNER = f"{PREFIX}owner"
ENDS_BY = f"{PREFIX}ends-by"

TOKEN_CHARACTERS = 64
"""The most that EC2 takes."""


def launch_token(attempt: str, market: str, turn: int) -> str:
    """Names one request of one attempt: the same request again, after a lost reply, gives the same instance."""
    return hashlib.sha256(f"{attempt}\0{market}\0{turn}".encode()).hexdigest()[:TOKEN_CHARACTERS]


def attempt_folder(token: str) -> str:
    """Of an attempt's files in the bucket; any text can be a token, not any text a name there."""
    return hashlib.sha256(token.encode()).hexdigest()[:16]


def tags(**values: str) -> list[dict[str, str]]:
    """As EC2 takes them, ours first; each value at most 256 characters, as EC2 allows."""
    named = {OURS: "1", **{PREFIX + name.replace("_", "-"): value[:256] for name, value in values.items()}}
    return [{"Key": key, "Value": value} for key, value in named.items()]


def tag_of(resource: Mapping[str, Any], name: str) -> str | None:
    """The value of a tag; None where there is none."""
    return next((tag["Value"] for tag in resource.get("Tags", ()) if tag["Key"] == name), None)
