"""JSON Schemas of configurations and of experiment files, for editors that complete and check while one types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from tenyson.config.experiment.schema import ExperimentFile
from tenyson.config.experiment.sweep import sweep_schemas
from tenyson.config.schema import Config

Schema = dict[str, Any]

DIALECT = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
_REFERENCE: Schema = {
    "title": "Reference",
    "description": "`${matrix.AXIS}`, `${steps.LABEL.run_id}`, `${steps.LABEL.metrics.NAME}`, or `${default}` for the key's default.",
    "type": "string",
    "pattern": r"^\$\{default\}$|\$\{\s*(steps|matrix)\.[^{}]*\}",
}
_TO_REFERENCE: Schema = {"$ref": "#/$defs/Reference"}
_OUTSIDE = ("title", "description", "default", "examples")
"""What stays beside `anyOf` where a key gets a further choice."""


def configuration_schema() -> Schema:
    """The schema of a configuration of one job."""
    return DIALECT | Config.model_json_schema()


def experiment_schema(kinds: Iterable[str]) -> Schema:
    """The schema of an experiment file. `kinds`: names of the installed kinds of job.

    Its configurations are parts of one: no key is required, and each may be a reference.
    """
    schema = DIALECT | ExperimentFile.model_json_schema()
    definitions = schema["$defs"]
    whole = Config.model_json_schema()
    for name, section in whole.pop("$defs").items():
        definitions[name] = _part(section)
    definitions["PartOfConfig"] = _part(whole) | {
        "title": "PartOfConfig",
        "description": "Sections and keys of a configuration; what is left out comes from `shared`, or is the default.",
    }
    sweeps = sweep_schemas(dict(_keys(whole, definitions)))
    definitions |= {sweep["title"]: sweep for sweep in sweeps.values()}
    definitions["Reference"] = _REFERENCE
    step = definitions["StepEntry"]
    step["properties"]["job"]["enum"] = list(kinds)
    for holder, key, target in (
        (schema, "shared", "PartOfConfig"),
        (step, "config", "PartOfConfig"),
        *((holder, key, sweep["title"]) for holder in (schema, step) for key, sweep in sweeps.items()),
    ):
        properties = holder["properties"]
        choices = [{"$ref": f"#/$defs/{target}"}, {"type": "null"}]
        properties[key] = {name: properties[key][name] for name in _OUTSIDE if name in properties[key]} | {
            "anyOf": choices
        }
    return schema


def _part(section: Schema) -> Schema:
    """A section of which any keys may be missing."""
    left = {name: value for name, value in section.items() if name != "required"}
    return left | {"properties": {key: _or_reference(one) for key, one in section["properties"].items()}}


def _or_reference(value: Schema) -> Schema:
    """The schema of a value that may be a reference, and so may each item of a list."""
    beside = {name: one for name, one in value.items() if name in _OUTSIDE}
    choices = value.get("anyOf") or [{name: one for name, one in value.items() if name not in _OUTSIDE}]
    if any("$ref" in choice for choice in choices):
        beside.pop("default", None)  # of a whole section: its keys have their own
    if {"type": "string"} not in choices:
        choices = [*map(_with_items, choices), _TO_REFERENCE]
    return beside | {"anyOf": choices}


def _with_items(choice: Schema) -> Schema:
    return choice | {"items": _or_reference(choice["items"])} if choice.get("items") else choice


def _keys(whole: Schema, definitions: Schema) -> Iterator[tuple[str, Schema]]:
    """Description and place of each key's schema, by dotted key."""
    for section, about in whole["properties"].items():
        name = about.get("$ref", "").rpartition("/")[2]
        for key, value in definitions[name]["properties"].items() if name else ():
            items = {"$ref": f"#/$defs/{name}/properties/{key}"}
            yield f"{section}.{key}", {"description": value.get("description", ""), "items": items}
