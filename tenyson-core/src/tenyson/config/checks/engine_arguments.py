"""Arguments of the engines of core, read from the source of the installed package: importing it would take seconds."""

from __future__ import annotations

import ast
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def engine_arguments(engine: str) -> frozenset[str] | None:
    """Names that `engine_args` may have for vllm or transformers; None where the package is not installed here."""
    return _read(engine, {"vllm": _of_vllm, "transformers": _of_transformers}[engine])


@cache
def sampling_arguments(engine: str) -> frozenset[str] | None:
    """Names that `trl.generation_kwargs` may have with vllm or transformers; None where the package is not installed here."""
    return _read(engine, {"vllm": _of_vllms_sampling, "transformers": _of_transformers}[engine])


def _read(engine: str, read: Callable[[Path], set[str]]) -> frozenset[str] | None:
    spec = find_spec(engine)
    if spec is None or spec.origin is None:
        return None
    try:
        return frozenset(read(Path(spec.origin).parent)) or None
    except (OSError, SyntaxError, StopIteration):
        # A version that keeps them elsewhere: who cannot be asked is told as such.
        return None


def _of_transformers(package: Path) -> set[str]:
    init = _function(
        _class(package / "generation" / "configuration_utils.py", "GenerationConfig"), "__init__"
    )
    targets = [
        target
        for node in ast.walk(init)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    return {
        target.attr
        for target in targets
        if isinstance(target, ast.Attribute)
        and isinstance(target.value, ast.Name)
        and target.value.id == "self"
        and not target.attr.startswith("_")
    }


def _of_vllm(package: Path) -> set[str]:
    arguments = _declared(_class(package / "engine" / "arg_utils.py", "EngineArgs"))
    init = _function(_class(package / "entrypoints" / "llm.py", "LLM"), "__init__")
    return arguments | {one.arg for one in (*init.args.args, *init.args.kwonlyargs) if one.arg != "self"}


def _of_vllms_sampling(package: Path) -> set[str]:
    found = _declared(_class(package / "sampling_params.py", "SamplingParams"))
    return {name for name in found if not name.startswith("_")}


def _declared(owner: ast.ClassDef) -> set[str]:
    return {
        node.target.id
        for node in owner.body
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and "ClassVar" not in ast.unparse(node.annotation)
    }


def _class(file: Path, name: str) -> ast.ClassDef:
    body = ast.parse(file.read_text(encoding="utf-8")).body
    return next(node for node in body if isinstance(node, ast.ClassDef) and node.name == name)


def _function(owner: ast.ClassDef, name: str) -> ast.FunctionDef:
    return next(node for node in owner.body if isinstance(node, ast.FunctionDef) and node.name == name)
