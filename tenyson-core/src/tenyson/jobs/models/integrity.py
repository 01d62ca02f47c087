"""Integrity: whether the files of a checkpoint, a model or an adapter are what their names say, before anything uses them.

A manifest's sums tell what changed after it was written. Here it is what was written so: a header of tensors that is none, a list
where an object should be, a pickle. Nothing is unpickled but by `weights_only`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tenyson.config.checks.hints import fits
from tenyson.errors import ModelError, TenysonError
from tenyson.telemetry.events import strict_json

RESUME = "resume.json"
"""Who wrote a checkpoint: run_id, step, processes, extended_steps, fingerprint, seed."""
MOST_JSON = 512 * 2**20
"""Bytes of a file of JSON that are read; tokenizers have some tens of millions."""
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK\x03\x04")
_OBJECTS = (
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
    "adapter_config.json", "added_tokens.json", "tenyson.json",
)  # fmt: skip
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_NUMBER = float
_KEPT_BY_RANK: dict[str, Any] = {
    "initial_step": int, "loss_sum": _NUMBER, "loss_total": _NUMBER, "last_logged": int, "metrics": dict,
    "train_tokens": _NUMBER, "task": dict,
}  # fmt: skip
_KEPT_BY_RESUME: dict[str, Any] = {
    "step": int, "run_id": str, "processes": int, "extended_steps": int, "fingerprint": str | None, "seed": int,
}  # fmt: skip


def read_object(path: Path) -> dict[str, Any]:
    """A file that holds a JSON object. Raises: ModelError: it does not; OSError: there is no such file."""
    if fault := _object_fault(path):
        raise damaged_file(path, fault)
    return strict_json.restore(json.loads(path.read_text(encoding="utf-8")))  # type: ignore[no-any-return]


def read_about(checkpoint: Path) -> dict[str, Any]:
    """`resume.json`; empty where transformers alone wrote the checkpoint."""
    try:
        return read_object(checkpoint / RESUME)
    except OSError:
        return {}


def damaged_file(path: Path, fault: str, next_step: str | None = None) -> ModelError:
    """The error that names a file."""
    return ModelError(f"this file is damaged: {fault}", place=str(path), next_step=next_step)


@contextmanager
def reading(path: Path, next_step: str | None = None) -> Iterator[None]:
    """Whatever a library says of a file's content becomes one line that names the file. Raises: ModelError."""
    try:
        yield
    except (TenysonError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's: no fault of the file
            raise
        raise damaged_file(path, f"{type(error).__name__}: {_first_line(error)}", next_step) from error


def checkpoint_fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint's files, as "FILE: reason"; None where each can be read as what it is."""
    return _first(
        (folder, name, check)
        for pattern, check in (
            ("resume.json", lambda path: _object_fault(path) or _kept_fault(path, _KEPT_BY_RESUME)),
            ("trainer_state.json", lambda path: _object_fault(path) or _state_fault(path)),
            ("rank-*.json", lambda path: _object_fault(path) or _kept_fault(path, _KEPT_BY_RANK)),
            ("optimizer.safetensors", lambda path: _tensors_fault(path) or _optimizer_fault(path)),
            ("rank-*.safetensors", _tensors_fault),
            ("*.pth", _pickle_fault),
            ("scheduler.pt", _pickle_fault),
            ("scaler.pt", _pickle_fault),
        )
        for name in sorted(path.name for path in folder.glob(pattern))
    ) or model_fault(folder)


def model_fault(folder: Path) -> str | None:
    """The same of a directory with a model, an adapter or a tokenizer."""
    checks: list[tuple[Path, str, Callable[[Path], str | None]]] = []
    checks += [(folder, name, _object_fault) for name in _OBJECTS if (folder / name).exists()]
    checks += [(folder, name, _index_fault) for name in _INDEXES if (folder / name).exists()]
    weights = [*folder.glob("model*.safetensors"), *folder.glob("**/adapter_model.safetensors")]
    checks += [(folder, str(path.relative_to(folder)), _tensors_fault) for path in sorted(weights)]
    return _first(iter(checks))


def require_readable(folder: Path) -> None:
    """Refuse a directory with a model or an adapter whose files cannot be read. Raises: ModelError."""
    if fault := model_fault(folder):
        name, _, reason = fault.partition(": ")
        raise damaged_file(folder / name, reason, "Fetch or write it again.")


def _first(checks: Iterator[tuple[Path, str, Callable[[Path], str | None]]]) -> str | None:
    for folder, name, check in checks:
        try:
            fault = check(folder / name)
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            fault = f"{type(error).__name__}: {_first_line(error)}"
        if fault:
            return f"{name}: {fault}"
    return None


def _object_fault(path: Path) -> str | None:
    if path.stat().st_size > MOST_JSON:
        return f"it has {path.stat().st_size} bytes, which is no such file"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:  # also of bytes that are no UTF-8
        return "it is empty" if not path.stat().st_size else f"it is no JSON: {_first_line(error)}"
    return None if isinstance(found, dict) else f"it holds {_kind(found)}, not an object"


def _kept_fault(path: Path, hints: Mapping[str, Any]) -> str | None:
    found = read_object(path)
    if path.name == "resume.json":
        found = {"fingerprint": None, "extended_steps": 0, "seed": 0, "run_id": "", **found}
    for name, hint in hints.items():
        if name not in found:
            return f"it has no {name}"
        if not fits(found[name], hint):
            return f"its {name} is {_kind(found[name])}"
    return None


def _state_fault(path: Path) -> str | None:
    """transformers makes its TrainerState of the file's keys as they are."""
    from dataclasses import fields
    from typing import get_type_hints

    from transformers import TrainerState

    found, hints = read_object(path), get_type_hints(TrainerState)
    known = {field.name for field in fields(TrainerState)}
    if odd := sorted(found.keys() - known):
        return f"transformers knows no {odd[0]!r}; another version may have written it"
    step = found.get("global_step")
    if not isinstance(step, int) or isinstance(step, bool) or step < 0:
        return f"its global_step is {_kind(step)}, not a number of steps"
    for name, value in found.items():
        if name == "log_history":
            fine = isinstance(value, list) and all(isinstance(entry, dict) for entry in value)
        elif name == "stateful_callbacks":
            fine = isinstance(value, dict) and all(map(_is_callback, value.values()))
        else:
            # Numbers of steps may be fractions, and evaluations may never have been.
            fine = fits(value, hints[name]) or (isinstance(value, (int, float)) and hints[name] is int) or (
                value is None and name not in ("global_step", "max_steps", "num_train_epochs", "log_history")
            )  # fmt: skip
        if not fine:
            return f"its {name} is {_kind(value)}"
    about = path.with_name("resume.json")
    if about.is_file() and read_object(about).get("step") != step:
        return f"its global_step is {step}, and resume.json says {read_object(about).get('step')}"
    return None


def _is_callback(value: Any) -> bool:
    entries = value if isinstance(value, list) else [value]
    return all(
        isinstance(entry, dict)
        and all(isinstance(entry.get(key, {}), dict) for key in ("args", "attributes"))
        for entry in entries
    )


def _tensors_fault(path: Path) -> str | None:
    size = path.stat().st_size
    if not size:
        return "it is empty"
    with path.open("rb") as file:
        start = file.read(8)
    if start.startswith(_PICKLES):
        return "it is a pickle, which may run code and is never loaded; tensors are kept as safetensors"
    from safetensors import safe_open

    try:
        with safe_open(path, framework="np"):
            return None
    except Exception as error:  # SafetensorError, which has no public base
        length = int.from_bytes(start, "little")
        if len(start) == 8 and length > size:
            return f"its header claims {length} bytes, and the file has {size}"
        return f"no tensors can be read: {_first_line(error)}"


def _optimizer_fault(path: Path) -> str | None:
    from safetensors import safe_open

    with safe_open(path, framework="np") as file:
        metadata, names = file.metadata() or {}, list(file.keys())
    if "state" not in metadata:
        return "its metadata have no state"
    try:
        plain = json.loads(metadata["state"])
        groups, state = plain["param_groups"], plain["state"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return "the state in its metadata cannot be read"
    if not isinstance(groups, list) or not all(
        isinstance(group, dict) and _are_indices(group.get("params")) for group in groups
    ):
        return "its parameter groups are none"
    if not isinstance(state, dict) or not all(
        key.isdecimal() and isinstance(one, dict) for key, one in state.items()
    ):
        return "its state is none"
    if odd := [name for name in names if not name.partition(".")[0].isdecimal()]:
        return f"{odd[0]!r} belongs to no parameter"
    return None


def _are_indices(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, int) for one in value)


def _pickle_fault(path: Path) -> str | None:
    """Of torch's own files: read without running anything, which is how they are loaded, too."""
    import torch
    from transformers.trainer_pt_utils import safe_globals

    if not path.stat().st_size:
        return "it is empty"
    try:
        with safe_globals():
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        if "weights_only" in str(error) or "Unsupported global" in str(error):
            return "it holds objects that may run code, and is not loaded"
        return f"it cannot be loaded: {_first_line(error)}"
    return None if isinstance(found, dict) else f"it holds {_kind(found)}"


def _index_fault(path: Path) -> str | None:
    if fault := _object_fault(path):
        return fault
    names = read_object(path).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        return "its weight_map is none"
    for name in sorted(set(names.values())):
        if Path(name).name != name:
            return f"{name!r} is no file beside it"
        if not (path.parent / name).is_file():
            return f"{name} is missing"
    return None


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    names = {
        bool: "a truth value",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), type(value).__name__)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:200]
