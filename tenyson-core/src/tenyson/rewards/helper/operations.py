"""What helper processes compute. Arguments and results are JSON; an exception means that the text cannot be computed with."""

from __future__ import annotations

import functools
import re
from typing import Any, Literal

from tenyson.rewards.helper.latex import as_latex, same_words


def search(pattern: str, flags: int, text: str, group: int | str) -> str | None:
    """The group of the last match of a pattern."""
    last = None
    for match in re.finditer(pattern, text, flags):
        last = match
    return None if last is None else last[group]


def matches(pattern: str, flags: int, text: str, full: bool) -> bool:
    """Whether a pattern is in the text, or is all of it."""
    expression = re.compile(pattern, flags)
    return (expression.fullmatch(text) if full else expression.search(text)) is not None


def validate(text: str, schema: Any) -> dict[str, Any]:
    """The JSON value that a text is, and whether a schema allows it: {"json": bool, "valid": bool, "value": ...}.

    Where the schema itself cannot be used, {"fault": why}.
    """
    try:
        value = json_value(text)
    except (ValueError, RecursionError):
        return {"json": False, "valid": False, "value": None}
    from jsonschema.exceptions import SchemaError, UnknownType
    from referencing.exceptions import Unresolvable

    try:
        valid = _validator(_Frozen(schema)).is_valid(value)
    except (SchemaError, UnknownType, Unresolvable, re.error) as error:
        return {"fault": f"{type(error).__name__}: {error}"[:500]}
    return {"json": True, "valid": valid, "value": value}


def json_value(text: str) -> Any:
    """The value of strict JSON. Raises: ValueError, RecursionError: it is none."""
    import json

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def equal(gold: str, reply: str, boxed: bool) -> Literal["equal", "different", "no gold"]:
    """Whether an answer equals the right one as mathematics. `boxed`: the reply is the answer alone."""
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse, verify

    targets = (LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig())
    read = functools.partial(parse, extraction_config=targets, parsing_timeout=None)
    gold, reply = as_latex(gold), as_latex(reply)
    right = read(_enclosed(gold))
    if not right:
        return "no gold"
    if boxed and same_words(gold, reply):
        return "equal"
    answer = read(_enclosed(reply) if boxed else reply)
    # The right answer comes first: the comparison is not symmetric.
    return "equal" if answer and verify(right, answer, timeout_seconds=None) else "different"


def _enclosed(latex: str) -> str:
    return f"\\boxed{{{latex.strip().strip('$').strip()}}}"


class _Frozen:
    """A schema as a key."""

    def __init__(self, schema: Any) -> None:
        import json

        self.schema, self._text = schema, json.dumps(schema, sort_keys=True)

    def __hash__(self) -> int:
        return hash(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Frozen) and other._text == self._text


@functools.lru_cache(maxsize=16)
def _validator(frozen: _Frozen) -> Any:
    from jsonschema.validators import Draft202012Validator, validator_for
    from jsonschema_specifications import REGISTRY

    # A registry of its own fetches nothing from the network.
    kind = validator_for(frozen.schema, default=Draft202012Validator)
    return kind(frozen.schema, registry=REGISTRY)
