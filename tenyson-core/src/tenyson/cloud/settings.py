"""Settings of a backend, checked against its pydantic model: all problems at once, with the nearest valid name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from tenyson.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")


def check_settings(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Build `model` from `values`.

    Raises:
        ConfigError: a key is unknown or a value is wrong; keys are given as backend.settings.KEY.
    """
    from tenyson.plugins.settings import settings_problems

    problems = settings_problems(model, values, ("backend", "settings"))
    if problems:
        raise ConfigError(problems)
    return model(**values)
