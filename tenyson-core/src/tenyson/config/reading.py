"""From a file to a document, within bounds.

Bounds are checked on the bytes and on the stream of events, before a tree is built, so that no file can take long.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import yaml

from tenyson.config.document import MAX_DEPTH, MAX_NODES, Document, KeyPath, whole
from tenyson.config.yamltext import TAG, Loader
from tenyson.errors import ConfigError

MAX_BYTES = 1_000_000


def read_document(source: Path | str) -> Document:
    """Read a YAML or JSON file. Raises: ConfigError where it cannot be read at all."""
    path = Path(source).expanduser()
    file = str(source)
    text = _read_text(path, file)
    if path.suffix.lower() == ".json":
        return _read_json(text, file)
    return _read_yaml(text, file)


def _read_text(path: Path, file: str) -> str:
    try:
        if path.is_dir():
            raise ConfigError([whole(file, "is a directory, not a configuration file")])
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError([whole(file, "no such file")]) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise ConfigError([whole(file, f"cannot be read: {reason}")]) from error
    if len(content) > MAX_BYTES:
        raise ConfigError([whole(file, f"is larger than {MAX_BYTES // 1000} kB; that is no configuration")])
    if b"\0" in content[:MAX_BYTES]:
        raise ConfigError([whole(file, "is a binary file, not YAML or JSON text")])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError([whole(file, "is not UTF-8 text", line=line)]) from None


def _read_json(text: str, file: str) -> Document:
    try:
        # Only to know that it is JSON: the YAML reading below also gives lines, duplicate keys and bounds.
        json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError([whole(file, f"not valid JSON: {error.msg}", line=error.lineno)]) from None
    except (RecursionError, ValueError) as error:
        cause = (
            f"is nested deeper than {MAX_DEPTH} levels" if isinstance(error, RecursionError) else str(error)
        )
        raise ConfigError([whole(file, cause)]) from None
    # A tab between tokens is JSON but not YAML; inside of a JSON string it is always written as \\t.
    document = _read_yaml(text.replace("\t", " "), file)
    for path, plain in document.raw.items():
        if plain in ("NaN", "Infinity", "-Infinity"):
            document.problems.append(document.problem(path, f"must be a finite number, not {plain}"))
    return document


def _read_yaml(text: str, file: str) -> Document:
    try:
        _check_bounds(text, file)
        root = yaml.compose(text, Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        suggestion = "indent with spaces, not tabs" if mark and _character(text, mark) == "\t" else ""
        cause = " ".join(part for part in (error.context, error.problem) if part)
        raise ConfigError(
            [whole(file, f"not valid YAML: {cause}", suggestion, mark.line + 1 if mark else None)]
        ) from None
    except yaml.YAMLError as error:
        raise ConfigError([whole(file, f"not valid YAML: {str(error).splitlines()[0]}")]) from None
    document = Document(file, {})
    if root is None:
        raise ConfigError([whole(file, "is empty")])
    if not isinstance(root, yaml.MappingNode):
        kind = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        raise ConfigError([whole(file, f"expected a mapping of sections, not {kind}")])
    if _expanded_size(root, {}, set(), file) > MAX_NODES:
        raise ConfigError(
            [whole(file, f"holds more than {MAX_NODES} values once its aliases are written out")]
        )
    document.data = build(root, (), document)
    return document


def _character(text: str, mark: yaml.Mark) -> str:
    lines = text.split("\n")
    return lines[mark.line][mark.column : mark.column + 1] if mark.line < len(lines) else ""


def _check_bounds(text: str, file: str) -> None:
    depth = documents = 0
    for nodes, event in enumerate(yaml.parse(text, Loader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
        line = event.start_mark.line + 1 if event.start_mark else None
        if depth > MAX_DEPTH:
            raise ConfigError([whole(file, f"is nested deeper than {MAX_DEPTH} levels", line=line)])
        if nodes > 2 * MAX_NODES:
            raise ConfigError([whole(file, f"holds more than {MAX_NODES} values", line=line)])
        if documents > 1:
            raise ConfigError([whole(file, "holds several YAML documents; expected one", line=line)])


def _expanded_size(node: yaml.Node, known: dict[int, int], above: set[int], file: str) -> int:
    if isinstance(node, yaml.ScalarNode):
        return 1
    if id(node) in above:
        line = node.start_mark.line + 1
        raise ConfigError([whole(file, "an alias refers to a value that contains it", line=line)])
    if id(node) not in known:
        above.add(id(node))
        children = (
            [part for pair in node.value for part in pair]
            if isinstance(node, yaml.MappingNode)
            else node.value
        )
        known[id(node)] = 1 + sum(_expanded_size(child, known, above, file) for child in children)
        above.discard(id(node))
    return known[id(node)]


def build(node: yaml.Node, path: KeyPath, document: Document) -> Any:
    """Plain data from a YAML node within bounds; notes lines and problems in the document."""
    if not isinstance(node, yaml.ScalarNode) and node.tag not in (f"{TAG}map", f"{TAG}seq"):
        document.problems.append(document.problem(path, f"the tag {node.tag} is not allowed"))
        return None
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, path, document)
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, child in enumerate(node.value):
            document.lines[(*path, str(index))] = child.start_mark.line + 1
            items.append(build(child, (*path, str(index)), document))
        return items
    assert isinstance(node, yaml.ScalarNode)
    return _scalar(node, path, document)


def _mapping(node: yaml.MappingNode, path: KeyPath, document: Document) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key_node, value_node in node.value:
        line = key_node.start_mark.line + 1
        if key_node.tag == f"{TAG}merge":
            sources = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
            for source in reversed(sources):
                if isinstance(source, yaml.MappingNode):
                    merged |= _mapping(source, path, document)
                else:
                    document.problems.append(
                        whole(document.file, "<< takes a mapping or a list of mappings", line=line)
                    )
            continue
        if not isinstance(key_node, yaml.ScalarNode):
            document.problems.append(whole(document.file, "a key must be text", line=line))
            continue
        key = str(key_node.value)
        here = (*path, key)
        if key in own:
            first = document.lines[here]
            document.lines[here] = line
            document.problems.append(document.problem(here, f"is given twice, first in line {first}"))
        document.lines[here] = line
        own[key] = build(value_node, here, document)
    return merged | own


def _scalar(node: yaml.ScalarNode, path: KeyPath, document: Document) -> Any:
    """The value of a scalar node; what is no plain JSON value becomes a problem."""
    text, kind = str(node.value), node.tag.removeprefix(TAG)
    if kind == "str":
        if not node.style:
            document.raw[path] = text
        return text
    document.raw[path] = text
    if kind == "null":
        return None
    try:
        if kind == "bool":
            return yaml.SafeLoader.bool_values[text.lower()]
        if kind == "int":
            return int(text.replace("_", ""), 0)
        if kind == "float":
            value = float(text.lower().replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
            if not math.isfinite(value):
                document.problems.append(document.problem(path, f"must be a finite number, not {text:.20}"))
                return 0.0
            return value
    except (KeyError, ValueError):
        document.problems.append(document.problem(path, f"cannot be read as {kind}"))
        return None
    document.problems.append(document.problem(path, f"the tag {node.tag} is not allowed"))
    return None
