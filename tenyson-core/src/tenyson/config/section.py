"""What the sections of a configuration have in common: strictness, and types of values."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict

from tenyson.config.paths import expand, expand_url
from tenyson.config.patterns import is_variable


class Section(BaseModel):
    """What all sections have in common."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
    )


def _variable_name(value: str) -> str:
    # The message must not repeat the value: it may be the secret itself.
    if not is_variable(value):
        raise ValueError(
            "give the NAME of an environment variable in capitals, such as HF_TOKEN, never a secret itself"
        )
    return value


def _url_without_password(value: str) -> str:
    try:
        secret = urlsplit(value).password
    except ValueError:
        secret = None
    if secret:
        raise ValueError("leave the password out of the URL: PGPASSWORD or ~/.pgpass holds it")
    return value


def _endpoint_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        host = parts.hostname
        secret = parts.username or parts.password or parts.query
    except ValueError:
        raise ValueError("is no URL") from None
    if secret:
        raise ValueError("leave user, password and query out of the URL: the key is named by api_key_env")
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError("expected a URL such as https://api.openai.com/v1")
    if value.rstrip("/").endswith(("/chat/completions", "/completions")):
        raise ValueError("leave out /chat/completions: requests add it")
    return value.rstrip("/")


VariableName = Annotated[str, AfterValidator(_variable_name)]
"""The NAME of a variable of the environment that holds a secret."""
DatabaseUrl = Annotated[str, AfterValidator(_url_without_password), AfterValidator(expand_url)]
EndpointUrl = Annotated[str, AfterValidator(_endpoint_url)]
"""Where an OpenAI-compatible API begins."""
UserPath = Annotated[str, AfterValidator(expand)]
"""A path in which `~` and variables of the environment are filled in."""
