"""What a task's code says of the ready rewards that it uses, without running it: some need packages of their own."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "tenyson.rewards"
EXTRAS = {"math": "math", "json_schema": "json", "judge": "openai"}
"""Rewards that need an extra of tenyson-core."""


def rewards_with_extras(task: str) -> set[str]:
    """Names among EXTRAS that a task may use, by the imports in its file or its top-level package.

    A reward that is reached in a way that cannot be read, such as getattr, counts as used.

    Args:
        task: "module:Class", or a Python file, with or without ":Class".
    """
    return {name for path in _files(task) for name in _names(path)}


def _files(task: str) -> Iterator[Path]:
    file, separator, _ = task.partition(".py:")
    path = Path(f"{file}.py" if separator else task)
    if path.suffix == ".py":
        yield from [path] if path.is_file() else []
        return
    try:
        found = importlib.util.find_spec(task.partition(":")[0].partition(".")[0])
    except (ImportError, ValueError):
        return
    if found is None:
        return
    for folder in found.submodule_search_locations or ():
        yield from sorted(Path(folder).rglob("*.py"))
    if not found.submodule_search_locations and found.has_location and found.origin:
        yield Path(found.origin)


def _names(path: Path) -> set[str]:
    try:
        text = path.read_bytes()
        tree = ast.parse(text) if b"rewards" in text else None
    except (OSError, SyntaxError, ValueError, RecursionError):
        return set()  # the job says so
    if tree is None:
        return set()
    aliases, found = set[str](), set[str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "tenyson":
            aliases |= {one.asname or one.name for one in node.names if one.name == "rewards"}
        elif isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{PACKAGE}."):
            names = {one.name for one in node.names}
            found |= set(EXTRAS) if "*" in names else names & set(EXTRAS)
        elif isinstance(node, ast.Import):
            aliases |= {one.asname or PACKAGE for one in node.names if one.name == PACKAGE}
    if not aliases:
        return found
    read = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _dotted(node.value) in aliases:
            found |= {node.attr} & set(EXTRAS)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in read:
            found |= set(EXTRAS) if node.id in aliases else set()
    return found


def _dotted(node: ast.expr) -> str:
    """Names with dots between them; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    before = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{before}.{node.attr}" if isinstance(node, ast.Attribute) and before else ""
