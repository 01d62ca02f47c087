"""From what a user writes for a task (a name, a file, or "module.path:ClassName") to the task itself, and back."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from tenyson.config.paths import is_folder, is_regular
from tenyson.errors import ConfigError, TaskError, TenysonError
from tenyson.plugins.failure import one_line
from tenyson.tasks.plugin import TaskPlugin
from tenyson.tasks.preset import Preset
from tenyson.tasks.usercode import shown, user_code

_PREFIX = "_tenyson_task_"
"""Modules made from files get a name of their own, so that a file `json.py` hides nothing."""


def load_task(spec: str, args: Mapping[str, Any] | None = None) -> TaskPlugin:
    """Load a task and build it with the arguments `args`.

    `spec` is "module.path:ClassName", a Python file with one TaskPlugin subclass, or the name of an installed task.

    Raises:
        TaskError: there is no such file, module or class; the module raises on import; it has none or several tasks.
        ConfigError: the task's settings model refuses `args`.
        UnknownPluginError: no installed task has that name.
    """
    return build_task(load_task_class(spec), args or {})


def load_task_class(spec: str) -> type[TaskPlugin]:
    """The class that `spec` names. Raises: as `load_task`."""
    if spec.endswith(".py") or ".py:" in spec or "/" in spec or "\\" in spec:
        return _from_file(spec)
    if ":" in spec:
        return _from_module(spec)
    if is_folder(spec):
        raise TaskError(
            f"{spec} is a directory", next_step="Give a Python file with one TaskPlugin subclass."
        )
    return _from_plugin(spec)


def build_task(cls: type[TaskPlugin], args: Mapping[str, Any]) -> TaskPlugin:
    """Construct a task. Its settings model, if it has one, checks the arguments first.

    Raises:
        ConfigError: the settings model refuses them. TaskError: the constructor does.
    """
    if cls.settings is not None:
        _check_settings(cls, args)
    try:
        return cls(**args)
    except TenysonError:
        raise
    except Exception as error:
        given = ", ".join(sorted(args)) or "none"
        raise TaskError(
            f"{cls.__name__} refuses its arguments: {one_line(error)}",
            next_step=f"Look at task.args in the configuration (given: {given}).",
        ) from error


def presets_of(task: TaskPlugin | type[TaskPlugin]) -> Mapping[str, Preset]:
    """The task's presets by name. Raises: TaskError: `presets()` raises, or returns something else."""
    name = task.name or (task if isinstance(task, type) else type(task)).__name__
    hook = f"presets() of the task {name}"
    with user_code(hook):
        found = task.presets()
    if not isinstance(found, Mapping) or not all(isinstance(one, Preset) for one in found.values()):
        raise TaskError(f"{hook} returned {shown(found)}, not a mapping of names to Preset")
    return found


def task_spec(task: TaskPlugin | type[TaskPlugin]) -> str:
    """What `load_task` takes to find this task's class again: "module:Class", or the file it was loaded from.

    Raises:
        TaskError: the class lives where no other process can find it, such as in a function or a notebook.
    """
    cls = task if isinstance(task, type) else type(task)
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", None)
    if "<locals>" in cls.__qualname__ or (cls.__module__ == "__main__" and file is None):
        raise TaskError(
            f"the task class {cls.__qualname__} cannot be found by another process",
            next_step="Define it at the top level of a Python file.",
        )
    if cls.__module__.startswith(_PREFIX) or cls.__module__ == "__main__":
        path = str(Path(str(file)).resolve())
        return path if module is not None and _candidates(module) == [cls] else f"{path}:{cls.__qualname__}"
    return f"{cls.__module__}:{cls.__qualname__}"


def find_file(spec: str) -> Path:
    """The file a path means: as it is, or under a root of sys.path. Raises: TaskError."""
    path = Path(spec).expanduser()
    roots = [] if path.is_absolute() else [Path(root) for root in sys.path if root]
    for candidate in (path, *(root / path for root in roots)):
        if is_regular(candidate):
            return candidate.resolve()
    where = "" if path.is_absolute() else f", neither in {Path.cwd()} nor among the installed packages"
    raise TaskError(f"there is no file {spec:.200}{where}")


def _from_plugin(name: str) -> type[TaskPlugin]:
    from tenyson.plugins.manager import PluginManager

    plugins = PluginManager()
    cls = plugins.load(plugins.find("task", name))
    return _require_task(cls, f"the installed task {name!r}")


def _from_module(spec: str) -> type[TaskPlugin]:
    name, _, attribute = spec.partition(":")
    if not name or not attribute:
        raise TaskError(f"cannot read {spec!r} as a task", next_step="Write module.path:ClassName.")
    try:
        value: Any = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            missing = name if name == error.name else f"{name}: {error.name} is missing"
            raise TaskError(f"there is no module {missing}", next_step=_INSTALL) from error
        raise TaskError(f"the module {name} raises on import: {one_line(error)}") from error
    except TenysonError:
        raise
    except (Exception, SystemExit) as error:
        raise TaskError(f"the module {name} raises on import: {one_line(error)}") from error
    for part in attribute.split("."):
        if not hasattr(value, part):
            names = [cls.__name__ for cls in _candidates(value)] if isinstance(value, ModuleType) else []
            hint = f"It has: {', '.join(names)}." if names else None
            raise TaskError(f"the module {name} has no {attribute}", next_step=hint)
        value = getattr(value, part)
    return _require_task(value, spec)


def _from_file(spec: str) -> type[TaskPlugin]:
    file, _, attribute = spec.partition(".py:")
    path = find_file(f"{file}.py" if attribute else spec)
    module = _import_file(path)
    if attribute:
        if not hasattr(module, attribute):
            raise TaskError(f"{path} has no {attribute}")
        return _require_task(getattr(module, attribute), spec)
    candidates = _candidates(module)
    if not candidates:
        raise TaskError(
            f"{path} has no TaskPlugin subclass",
            next_step="Define one: class MyTask(tenyson.tasks.TaskPlugin).",
        )
    if len(candidates) > 1:
        names = ", ".join(cls.__name__ for cls in candidates)
        raise TaskError(
            f"{path} has several TaskPlugin classes: {names}", next_step=f"Choose one: {spec}:CLASS."
        )
    return candidates[0]


def _import_file(path: Path) -> ModuleType:
    """Import a file: as the module it is where its package can be imported, else under a name made from its path."""
    name = _importable_name(path) or f"{_PREFIX}{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise TaskError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses and pickling look a class's module up, so it must be there while the file runs.
    sys.modules[name] = module
    # As with `python FILE`, the file may import its neighbours; last, so that it hides nothing.
    if str(path.parent) not in sys.path and name.startswith(_PREFIX):
        sys.path.append(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        if isinstance(error, TenysonError):
            raise
        raise TaskError(f"{path} raises on import: {one_line(error)}") from error
    return module


def _importable_name(path: Path) -> str | None:
    """The dotted name under which a file in an importable package is known; None for a file on its own."""
    parts = [path.stem]
    folder = path.parent
    while (folder / "__init__.py").is_file():
        parts.insert(0, folder.name)
        folder = folder.parent
    roots = {Path(root).resolve() for root in sys.path if root}
    if len(parts) == 1 or folder not in roots:
        return None
    name = ".".join(parts)
    try:
        found = importlib.util.find_spec(name)
    except Exception:
        return None
    return name if found is not None and found.origin and Path(found.origin).resolve() == path else None


def _candidates(module: ModuleType) -> list[type[TaskPlugin]]:
    """The tasks of a module: those defined in it, else those it imports; not private or abstract ones."""
    classes = {
        id(value): value
        for name, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, TaskPlugin)
        and value is not TaskPlugin
        and not inspect.isabstract(value)
        and not name.startswith("_")
        and not value.__name__.startswith("_")
    }
    own = [cls for cls in classes.values() if cls.__module__ == module.__name__]
    return own or list(classes.values())


def _require_task(value: Any, spec: str) -> type[TaskPlugin]:
    if not (inspect.isclass(value) and issubclass(value, TaskPlugin)):
        raise TaskError(f"{spec} is not a TaskPlugin subclass")
    if inspect.isabstract(value):
        raise TaskError(f"{spec} is abstract: it lacks {', '.join(sorted(value.__abstractmethods__))}")
    return value


def _check_settings(cls: type[TaskPlugin], args: Mapping[str, Any]) -> None:
    from tenyson.plugins.settings import settings_problems

    found = settings_problems(cls.settings, args, ("task", "args"))
    if found:
        raise ConfigError(found)


_INSTALL = "Install the package it belongs to, or give the path of a Python file."
