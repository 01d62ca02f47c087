"""Loading: from a file, or from data, to a checked Config; and from a Config back to text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tenyson.config.document import Document, from_mapping
from tenyson.config.explain import problems as explain
from tenyson.config.overrides import apply_overrides
from tenyson.config.reading import read_document
from tenyson.config.schema import Config
from tenyson.config.unset import without_unset
from tenyson.config.yamltext import dump
from tenyson.errors import ConfigError


def load_config(source: Path | str, overrides: Sequence[str] = ()) -> Config:
    """Read a YAML or JSON file and check it.

    Args:
        overrides: "section.key=value", each; the value is YAML.

    Raises:
        ConfigError: with every problem that was found, each with file, line, key and the nearest valid key.
    """
    return check_document(read_document(source), overrides)


def parse_config(data: Mapping[str, Any], overrides: Sequence[str] = (), source: str = "<dict>") -> Config:
    """Check a configuration that is in memory already. `source` names it in errors. Raises: ConfigError."""
    return check_document(from_mapping(data, source), overrides)


def check_document(document: Document, overrides: Sequence[str] = ()) -> Config:
    """Apply overrides to a document and check it against the schema. Raises: ConfigError."""
    from pydantic import ValidationError

    apply_overrides(document, overrides)
    document.data = without_unset(document.data)
    found = list(document.problems)
    try:
        config = Config.model_validate(document.data)
    except ValidationError as error:
        named = {problem.key for problem in found}
        found += [problem for problem in explain(error, document, Config) if problem.key not in named]
    if found:
        raise ConfigError(sorted(found, key=lambda problem: (problem.file, problem.line or 0)))
    return config


def dump_config(config: Config) -> str:
    """The whole configuration, defaults included, as YAML that loads back to an equal one."""
    return dump(config.model_dump(mode="json"))
