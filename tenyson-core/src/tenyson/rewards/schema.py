"""The reward `json_schema`: the reply is JSON that a schema allows, with the right values if there are any."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from typing import Any

from tenyson.errors import MissingDependencyError, TaskError
from tenyson.rewards.helper.pool import EXCEEDED, Helper
from tenyson.rewards.reading.extraction import Extract, fenced, first_of, reply_of, tag
from tenyson.rewards.reading.truth import Truth, truth_of
from tenyson.tasks.reward import Reward
from tenyson.tasks.rollout import Rollout


def json_schema(
    schema: Mapping[str, Any] | bool,
    *,
    truth: Truth | None = None,
    partial: bool = False,
    extract: Extract | None = None,
    seconds: float = 2.0,
    name: str = "json_schema",
    weight: float = 1.0,
) -> Reward:
    """1 where the reply is JSON that the schema allows, else 0. With `truth` its value must also be the right one.

    NaN and Infinity are no JSON. Validation runs in a helper process, which fetches nothing from the network; one that
    computes for more than `seconds` counts as invalid.

    Args:
        schema: a JSON Schema; draft 2020-12 unless its `$schema` names another.
        truth: where the right value is. Numbers are equal by value (1 and 1.0), lists in order, objects in any order.
        partial: with `truth`, an object is worth the share of right fields, among those of either side.
        extract: where the JSON is in the reply. By default: in the last `<answer>`, else in the last fenced block, else
            all of the reply, or what is between its first and its last bracket.

    Raises:
        TaskError: the schema is invalid, or no JSON.
        MissingDependencyError: jsonschema is not installed.
    """
    _check(schema, name)
    helper = Helper(name, seconds)
    find = extract or first_of(tag("answer"), fenced("json"), fenced())

    def score(rollout: Rollout) -> float | None:
        right = None if truth is None else truth_of(rollout.sample, truth, name)
        if truth is not None and right is None:
            return None
        text = find(reply_of(rollout))
        if text is None:
            return 0.0
        texts = [text] if extract else [text, _between_brackets(text)]
        for text in dict.fromkeys(filter(None, texts)):
            found = helper.call("validate", text=text, schema=schema)
            if found is EXCEEDED:
                return 0.0
            if "fault" in found:
                raise TaskError(
                    f"the reward {name}: the schema cannot be used: {found['fault']}",
                    next_step="Define what $ref names within the schema, and correct its patterns.",
                )
            if found["json"]:
                if not found["valid"]:
                    return 0.0
                return 1.0 if truth is None else _agreement(found["value"], right, partial)
        return 0.0

    return Reward(name, score, weight)


def _check(schema: Any, name: str) -> None:
    if importlib.util.find_spec("jsonschema") is None:
        raise MissingDependencyError(
            "jsonschema", needed_for=f"the reward {name}", install="tenyson-core[json]"
        )
    import json

    from jsonschema.exceptions import SchemaError
    from jsonschema.validators import Draft202012Validator, validator_for

    try:
        json.dumps(schema)
        validator_for(schema, default=Draft202012Validator).check_schema(schema)
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path)) or "its top"
        raise TaskError(
            f"the reward {name}: the schema is invalid at {where}: {error.message:.300}",
            next_step="Correct the schema; https://json-schema.org/understanding-json-schema explains the keywords.",
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise TaskError(f"the reward {name}: the schema is no JSON: {error}") from None


def _between_brackets(text: str) -> str | None:
    starts = [place for sign in "{[" if (place := text.find(sign)) >= 0]
    if not starts:
        return None
    start = min(starts)
    end = text.rfind("}" if text[start] == "{" else "]")
    return text[start : end + 1] if end > start else None


def _agreement(found: Any, right: Any, partial: bool) -> float:
    if partial and isinstance(found, dict) and isinstance(right, Mapping) and (found or right):
        fields = {*found, *right}
        same = sum(key in found and key in right and _same(found[key], right[key]) for key in fields)
        return same / len(fields)
    return float(_same(found, right))


def _same(found: Any, right: Any) -> bool:
    """Equality of JSON values: true is not 1. As deep as the right one goes, no deeper."""
    if isinstance(right, bool) or isinstance(found, bool):
        return found is right
    if isinstance(right, Mapping):
        return (
            isinstance(found, dict)
            and found.keys() == right.keys()
            and all(_same(found[key], value) for key, value in right.items())
        )
    if isinstance(right, (list, tuple)):
        return (
            isinstance(found, list)
            and len(found) == len(right)
            and all(_same(one, value) for one, value in zip(found, right, strict=True))
        )
    return bool(found == right) and isinstance(found, str) == isinstance(right, str)
