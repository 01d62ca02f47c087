"""Actions: from a reply of the model to an action that fits the server's schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from tenyson.config.explain import nearest
from tenyson.errors import TaskError
from tenyson_openenv.session import RefusedError

_NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?")
_FENCE = re.compile(r"```(?:json)?\s*(.*?)```", re.DOTALL)


class ActionReader:
    """Reads replies. `action` and `action_args` are those of the settings.

    Raises:
        TaskError: the schema has no such field.
    """

    def __init__(self, schema: Mapping[str, Any], action: str, action_args: Mapping[str, Any]) -> None:
        self.schema = schema
        properties = {
            name: one for name, one in dict(schema.get("properties") or {}).items() if name != "metadata"
        }
        self._args = dict(action_args)
        _require_fields(properties, [*action_args, *([] if action in ("auto", "json") else [action])])
        left = [name for name in properties if name not in action_args]
        self.field = action
        if action == "auto":
            self.field = left[0] if len(left) == 1 else "json"
        if self.field == "json" and self._args:
            raise TaskError(
                f"an action has the fields {', '.join(left)} beside action_args",
                place="task.args.action",
                next_step="Name the field that the reply is.",
            )
        self.kind = str(dict(properties.get(self.field) or {}).get("type", "string"))
        self.about = str(dict(properties.get(self.field) or {}).get("description", ""))

    def read(self, reply: str) -> dict[str, Any]:
        """The action. Raises: RefusedError: the reply is none; it says why, in words for the model."""
        if self.field == "json":
            return _json_object(reply)
        return {**self._args, self.field: _value(reply, self.kind)}


def _require_fields(properties: Mapping[str, Any], names: list[str]) -> None:
    for name in names:
        if properties and name not in properties:
            near = nearest(name, properties)
            hint = f"Did you mean {near}?" if near else f"It has: {', '.join(properties)}."
            raise TaskError(
                f"an action of this server has no field {name!r}", place="task.args", next_step=hint
            )


def _value(reply: str, kind: str) -> Any:
    text = reply.strip()
    if kind in ("integer", "number"):
        found = _NUMBER.findall(text)
        if not found:
            raise RefusedError("the reply holds no number")
        return float(found[-1]) if "." in found[-1] else int(found[-1])
    if kind in ("object", "array", "boolean"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            raise RefusedError(f"the reply is no JSON {kind}") from None
    return text


def _json_object(reply: str) -> dict[str, Any]:
    fenced = _FENCE.findall(reply)
    try:
        found = json.loads(fenced[-1] if fenced else reply)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"the reply is no JSON object: {error}") from None
    if not isinstance(found, dict):
        raise RefusedError("the reply is no JSON object")
    return found
