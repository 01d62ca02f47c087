"""Settings of a backend: checked against its pydantic model, all problems at once, with the nearest valid name."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from tenyson.errors import ConfigError, Problem

if TYPE_CHECKING:
    from pydantic import BaseModel

Model = TypeVar("Model", bound="BaseModel")


def check_settings(model: type[Model], values: Mapping[str, Any]) -> Model:
    """Build `model` from `values`.

    Raises:
        ConfigError: a key is unknown or a value is wrong; keys are given as backend.settings.KEY.
    """
    from pydantic import ValidationError

    try:
        return model(**values)
    except ValidationError as error:
        problems = []
        for found in error.errors(include_url=False, include_input=False):
            key = ".".join(str(part) for part in found["loc"])
            near = difflib.get_close_matches(key, model.model_fields, n=1)
            unknown = found["type"] == "extra_forbidden"
            problems.append(
                Problem(
                    "unknown setting" if unknown else found["msg"],
                    key=f"backend.settings.{key}",
                    suggestion=f"did you mean {near[0]}?" if unknown and near else "",
                )
            )
        raise ConfigError(problems) from error
