"""Clean-up: finds what is ours at Modal, and removes what nobody needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from tenyson.errors import TenysonError
from tenyson_modal.api.failures import explained, modal_errors
from tenyson_modal.api.naming import OWNER, control_name
from tenyson_modal.app.apps import App, find_apps, stop
from tenyson_modal.settings import ModalSettings

Kind = Literal["app", "folder", "dict"]


@dataclass(frozen=True)
class Found:
    """One thing of ours."""

    kind: Kind
    id: str
    run: str
    owner: str
    state: str
    detail: str = ""


def find_all(settings: ModalSettings, *, only_apps: bool = False) -> list[Found]:
    """Everything of ours in the environment, apps first. Raises: ModalError."""
    found = [_app(one) for one in find_apps(settings.environment_name)]
    return (
        found if only_apps else [*found, *_folders(settings, {one.run for one in found}), *_dicts(settings)]
    )


def remove(settings: ModalSettings, found: Found, say: Callable[[str], None]) -> str | None:
    """Remove one thing; returns why it could not be removed. Apps are seen stopped."""
    import modal

    environment = settings.environment_name
    try:
        if found.kind == "app":
            stop(found.id, say)
        elif found.kind == "folder":
            volume = modal.Volume.from_name(settings.volume, environment_name=environment)
            volume.remove_file(found.id.partition("/")[2], recursive=True)
        else:
            modal.Dict.objects.delete(found.id, environment_name=environment)
    except modal_errors(TenysonError) as error:
        return str(error)
    return None


def _app(one: App) -> Found:
    return Found("app", one.id, one.run_id, one.tags.get(OWNER, ""), one.state, f"{one.tasks} container(s)")


def _folders(settings: ModalSettings, running: set[str]) -> list[Found]:
    import modal

    volume = modal.Volume.from_name(settings.volume, environment_name=settings.environment_name)
    entries = _listed(lambda: volume.listdir("/"))
    names = [entry.path.strip("/") for entry in entries if "/" not in entry.path.strip("/")]
    return [
        Found("folder", f"{settings.volume}/{name}", name, "", "in use" if name in running else "stored")
        for name in names
    ]


def _dicts(settings: ModalSettings) -> list[Found]:
    import modal

    name = control_name(settings.volume)
    entries = modal.Dict.from_name(name, environment_name=settings.environment_name)
    there = _listed(lambda: [entries.hydrate()])
    return [Found("dict", name, "", "", "free of charge")] if there else []


def _listed(work: Callable[[], list[Any]]) -> list[Any]:
    """Nothing where there is no such thing. Raises: ModalError."""
    import modal.exception

    try:
        return work()
    except (modal.exception.NotFoundError, FileNotFoundError):
        return []
    except modal_errors() as error:
        raise explained(error, "it cannot be listed what is ours") from error
