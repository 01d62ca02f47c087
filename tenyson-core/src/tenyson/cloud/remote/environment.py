"""The environment that a job on another machine gets: variables whose names its configuration holds, as far as they are set here."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any


def variables_of(
    config: Mapping[str, Any], forwarded: Sequence[str] = (), *, direct_database: bool = False
) -> dict[str, str]:
    """Tokens of the hub and of W&B, the database's password where the job itself uses it, and what settings forward. All may be secret."""
    hub, wandb = config.get("hub") or {}, config.get("wandb") or {}
    names: Sequence[str | None] = [
        hub.get("token_env", "HF_TOKEN"),
        wandb.get("api_key_env", "WANDB_API_KEY") if wandb.get("project") else None,
        *(["PGPASSWORD"] if direct_database else []),
        *forwarded,
    ]
    return {name: os.environ[name] for name in names if name and name in os.environ}
