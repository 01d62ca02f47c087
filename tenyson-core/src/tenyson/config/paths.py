"""Paths in a configuration: `~` and `$HOME` are filled in, and a path in a file is relative to that file."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tenyson.config.checks.endpoint import asks_endpoint
from tenyson.core.run_folder import CONFIG

_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))")
_LONGEST_PATH = 1000
_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)(?=[~$])")
_ALWAYS = (("run", "output_dir"),)
_MAYBE = (
    ("model", "name"),
    ("model", "adapter"),
    ("training", "resume_from_checkpoint"),
)
"""Keys that hold a path, a name of the Hub, or the id of a run."""


def expand(path: str) -> str:
    """`path` with `~`, `$NAME` and `${NAME}` filled in. Raises: ValueError: there is no such user or variable."""

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise ValueError(f"the environment variable {name} is not set, so this path cannot be expanded")
        return os.environ[name]

    filled = _VARIABLE.sub(value, path)
    if filled.startswith("~"):
        try:
            return str(Path(filled).expanduser())
        except RuntimeError:
            user = filled.partition("/")[0]
            raise ValueError(f"{user} is the home of no user on this machine") from None
    return filled


def expand_url(url: str) -> str:
    """The URL of a SQLite file with `~` and variables at its beginning filled in. Raises: ValueError: as `expand`."""
    match = _SQLITE.match(url)
    return match[0] + expand(url[match.end() :]) if match else url


def is_folder(path: str | Path) -> bool:
    """Whether there is such a folder; False for what no path can be, such as a name of a thousand letters."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):
        return False


def is_regular(path: str | Path) -> bool:
    """Whether there is such a file; False for what no path can be."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def relative_to_file(config: Mapping[str, Any], file: str | Path) -> dict[str, Any]:
    """`config`, read from `file`, with its relative paths written so that they hold in the working directory.

    Those are `run.output_dir`; `task.module` where it is a file; and `model.name`, `model.adapter` and
    `training.resume_from_checkpoint` where they begin with `./` or `../`, or are a folder beside the file; and what `task.args`
    names that exists beside the file.
    """
    folder = Path(file).expanduser().parent
    if folder.resolve() == Path.cwd().resolve() or _is_record(config, Path(file)):
        return dict(config)
    changed = dict(config)
    for section, key in (*_ALWAYS, *_MAYBE, ("task", "module")):
        if (section, key) == ("model", "name") and asks_endpoint(config):
            continue  # a name at the endpoint
        values = changed.get(section)
        value = values.get(key) if isinstance(values, Mapping) else None
        if not isinstance(value, str) or not value or value[0] in "~$/":
            continue
        beside = (section, key) in _ALWAYS or (
            _is_own_file(value, folder)
            if key == "module"
            else value.startswith(("./", "../")) or is_folder(folder / value)
        )
        if beside:
            changed[section] = {**changed[section], key: _from_here(folder / value)}
    task = changed.get("task")
    if isinstance(task, Mapping) and isinstance(task.get("args"), Mapping):
        changed["task"] = {**task, "args": _arguments_from_here(task["args"], folder)}
    return changed


def names_a_file(value: Any, folder: Path | None = None) -> Path | None:
    """The file or folder that an argument of a task names, looked for in `folder` or here; None where it names none.

    A bare word that is a folder by chance is a word.
    """
    if not isinstance(value, str) or not value or len(value) > _LONGEST_PATH:
        return None
    path = Path(value).expanduser() if folder is None else folder / value
    return path if is_regular(path) or ("/" in value and is_folder(path)) else None


def _arguments_from_here(value: Any, folder: Path) -> Any:
    """Arguments of a task, in which the names of files beside the configuration hold in the working directory."""
    if isinstance(value, Mapping):
        return {key: _arguments_from_here(item, folder) for key, item in value.items()}
    if isinstance(value, list):
        return [_arguments_from_here(item, folder) for item in value]
    if isinstance(value, str) and value and value[0] in "~$/":
        return value
    found = names_a_file(value, folder)
    return value if found is None else _from_here(found)


def _is_record(config: Mapping[str, Any], file: Path) -> bool:
    """Whether it is the config.yaml that a run left in its folder: its paths hold where the run was started."""
    run = config.get("run")
    name = run.get("id") if isinstance(run, Mapping) else None
    return file.name == CONFIG and bool(name) and name == file.absolute().parent.name


def _is_own_file(module: str, folder: Path) -> bool:
    """Whether a task's module is a file of the user's, and not one that `sys.path` has."""
    path = re.sub(r":\w+$", "", module)
    if not (path.endswith(".py") or "/" in path or "\\" in path):
        return False
    explicit = path.startswith(("./", "../")) or is_regular(folder / path)
    return explicit or not any(is_regular(Path(root) / path) for root in sys.path if root)


def _from_here(path: Path) -> str:
    text = os.path.relpath(path)
    return text if text.startswith("..") else f"./{text}"
