"""The model that judges: where it answers, how it is asked, what it costs, and how much of that is allowed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tenyson.config.patterns import is_variable
from tenyson.core.chat.usage import Prices
from tenyson.errors import TaskError


@dataclass(frozen=True, kw_only=True)
class JudgeModel:
    """A model behind an OpenAI-compatible endpoint. Judges that name the same model and URL share what a run has spent.

    Raises: TaskError: a field cannot be used.
    """

    name: str
    """As the endpoint calls it."""
    url: str
    """Where the API begins, such as https://api.openai.com/v1 or http://localhost:8000/v1."""
    api_key_env: str | None = None
    """NAME of the environment variable that holds the key; None where the endpoint wants none."""
    settings: Mapping[str, Any] = field(default_factory=lambda: {"temperature": 0})
    """Sent with each request, verbatim, such as temperature, max_completion_tokens, seed or reasoning_effort."""
    prices: Prices | None = None
    """US dollars for a million tokens; None: unknown."""
    concurrency: int = 64
    """Most requests at once."""
    requests_per_minute: float | None = None
    """Most requests in a minute; None for no limit of ours. What the endpoint asks for is always obeyed."""
    seconds: float = 120.0
    """Limit of one request."""
    retry_seconds: float = 300.0
    """How long a request is repeated for that the endpoint is too busy for, that fails there, or that is lost."""
    budget_calls: int | None = None
    """Most answers in one run, all its attempts together; where one more is needed, the job ends with its checkpoint."""
    budget_tokens: int | None = None
    """Most tokens in one run, of prompts and answers together."""
    budget_usd: float | None = None
    """Most dollars in one run; it needs prices."""

    def __post_init__(self) -> None:
        if not self.name:
            raise TaskError(
                "JudgeModel: the name is empty", next_step="Give the model's name at the endpoint."
            )
        self._check_url()
        # The message must not repeat the value: it may be the secret itself.
        if self.api_key_env is not None and not is_variable(self.api_key_env):
            raise TaskError(
                "JudgeModel: api_key_env is no name of an environment variable",
                next_step="Write the NAME of the variable in capitals, such as OPENAI_API_KEY, never the key itself.",
            )
        for name in (
            "concurrency",
            "requests_per_minute",
            "seconds",
            "retry_seconds",
            "budget_calls",
            "budget_tokens",
            "budget_usd",
        ):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise TaskError(f"JudgeModel: {name} is {value}; it must be above 0")
        if self.budget_usd is not None and self.prices is None:
            raise TaskError(
                "JudgeModel: budget_usd needs the prices of tokens",
                next_step="Give prices=Prices(prompt=..., completion=...), in dollars for a million tokens.",
            )

    def _check_url(self) -> None:
        try:
            parts = urlsplit(self.url)
            usable = (
                parts.scheme in ("http", "https")
                and parts.hostname
                and not parts.username
                and not parts.password
            )
        except ValueError:
            usable = False
        if not usable:
            raise TaskError(
                "JudgeModel: url is no URL of an endpoint", next_step="Write https://HOST/v1, without a key."
            )
