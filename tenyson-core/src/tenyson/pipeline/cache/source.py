"""Source: the code and the files that decide what a step computes, by SHA-256."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from tenyson.core.files.digest import file_sha256

_PACKAGE_FILES = 2000
_CODE = (".py", ".pyi")
_COMPUTES = ("jobs", "engines", "tasks")


def task_source(spec: str) -> dict[str, str]:
    """SHA-256 by file of a task's code: all of its package, data included, or its one file with the neighbours it imports.

    Raises: TaskError.
    """
    import sys

    from tenyson.tasks.load import load_task_class

    running = Path(str(getattr(sys.modules["__main__"], "__file__", ""))).resolve()
    # A script that gives a task of its own must not be run a second time to look at it.
    if spec == str(running) or spec.startswith(f"{running}:"):
        return _with_neighbours(running)
    return _class_source(load_task_class(spec), code_only=False)


def core_source() -> dict[str, str]:
    """Of Tenyson itself, what trains, generates and scores; how it is launched, recorded and shown does not count."""
    core = Path(__file__).parents[2]
    return {name: found for part in _COMPUTES for name, found in package_source(core / part).items()}


def job_source(job_type: str) -> dict[str, str]:
    """SHA-256 by file of the code of a plugin's kind of job; empty for core's own. Raises: PluginError."""
    from tenyson.plugins.job_kinds import job_class

    found = job_class(job_type)
    return {} if found.__module__.startswith("tenyson.") else _class_source(found, code_only=True)


def factory_source(factory: str | None) -> dict[str, str]:
    """SHA-256 of the file that builds the model, where one does."""
    if factory is None:
        return {}
    import importlib.util

    module = factory.partition(":")[0]
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        spec = None
    return {module: digest(Path(spec.origin))} if spec is not None and spec.origin else {}


def package_source(folder: Path, *, code_only: bool = True) -> dict[str, str]:
    """SHA-256 by relative path of a package's files."""
    found = {}
    for path in sorted(folder.rglob("*"))[: 10 * _PACKAGE_FILES]:
        if path.is_file() and "__pycache__" not in path.parts and (not code_only or path.suffix in _CODE):
            found[f"{folder.name}/{path.relative_to(folder)}"] = digest(path)
            if len(found) >= _PACKAGE_FILES:
                break
    return found


def digest(path: Path) -> str:
    """SHA-256 of a file; of a folder, that of its files' names and digests."""
    if path.is_file():
        stat = path.stat()
        return _file_digest(str(path.resolve()), stat.st_mtime_ns, stat.st_size)
    files = {str(one.relative_to(path)): digest(one) for one in sorted(path.rglob("*")) if one.is_file()}
    return sha256(json.dumps(files).encode()).hexdigest()


def _class_source(cls: type, *, code_only: bool) -> dict[str, str]:
    """All of its package, or its one file with the neighbours it imports."""
    import sys

    module = sys.modules[cls.__module__]
    top = sys.modules.get(module.__name__.partition(".")[0])
    file, root = getattr(module, "__file__", None), getattr(top, "__file__", None)
    if root is not None and Path(root).name == "__init__.py" and top is not module:
        return package_source(Path(root).parent, code_only=code_only)
    return {} if file is None else _with_neighbours(Path(file))


def _with_neighbours(file: Path) -> dict[str, str]:
    """Read from the text, not from what is loaded: that would depend on what else this process has imported."""
    found: dict[str, str] = {}
    left = [file]
    while left:
        path = left.pop()
        found[path.name] = digest(path)
        for name in _imports(path):
            module, package = file.with_name(f"{name}.py"), file.with_name(name)
            if module.is_file() and module.name not in found:
                left.append(module)
            elif (package / "__init__.py").is_file():
                found |= package_source(package)
    return found


def _imports(path: Path) -> Iterator[str]:
    """The first part of the name of every module that a file imports."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):  # the import itself tells it better
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@lru_cache(maxsize=4096)
def _file_digest(path: str, _changed: int, _size: int) -> str:
    return file_sha256(Path(path))
