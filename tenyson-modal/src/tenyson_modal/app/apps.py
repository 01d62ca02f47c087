"""Apps: those of ours in an environment, and their end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tenyson_modal.api.failures import ModalError, explained, modal_errors
from tenyson_modal.api.naming import ATTEMPT, PREFIX, RUN

STOP_SECONDS = 120.0
"""So long it may take until Modal says that an app is stopped."""
OVER = ("stopped", "stopping", "disabled")


@dataclass(frozen=True)
class App:
    """One app of ours."""

    id: str
    name: str
    state: str
    tasks: int
    """Containers that run."""
    created_at: float
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether anything of it may still run."""
        return self.state not in OVER or self.tasks > 0

    @property
    def run_id(self) -> str:
        """Of the run it is for, as a tag's value."""
        return self.tags[RUN]


def find_apps(environment: str | None, *, name: str | None = None) -> list[App]:
    """Apps of ours of which anything may still run, the newest first. Raises: ModalError."""
    import modal

    try:
        listed = _list(environment)
        found = []
        for one in listed:
            app = App(
                one.app_id,
                one.description or one.name,
                _state(one.state),
                one.n_running_tasks,
                one.created_at,
            )
            if not app.name.startswith(PREFIX) or (name is not None and app.name != name):
                continue
            if app.alive:
                tags = modal.App.lookup(app.id).get_tags()
                found.append(replace(app, tags=dict(tags)))
    except modal_errors() as error:
        raise explained(error, "Modal's apps cannot be listed") from error
    # A name is anybody's; ours have their tags from the call on that made them.
    ours = [app for app in found if {RUN, ATTEMPT} <= app.tags.keys()]
    return sorted(ours, key=lambda app: -app.created_at)


def stop(app_id: str, say: Callable[[str], None]) -> None:
    """Stop an app, whatever runs in it, and see that it is stopped. Raises: ModalError: Modal does not confirm it."""
    import modal
    import modal.exception

    deadline = time.monotonic() + STOP_SECONDS
    trouble, told = "", False
    while True:
        try:
            app = modal.App.lookup(app_id)
            state = app.info(refresh=True).lifecycle.state.value
            if state in ("stopped", "disabled"):
                return
            if state != "stopping":
                app.stop()
        except modal.exception.NotFoundError:
            return
        except modal_errors() as error:
            trouble = f": {error}"
            if explained(error, "").kind == "auth":
                raise explained(error, f"the app {app_id} cannot be stopped") from error
        if time.monotonic() > deadline:
            raise ModalError(
                f"Modal does not confirm that the app {app_id} is stopped{trouble}",
                "away",
                next_step=f"It may still cost: modal app stop {app_id}, or tenyson modal cleanup.",
            )
        if trouble and not told:
            told = True
            say(f"the app {app_id} is not stopped yet{trouble}")
        time.sleep(0.5)


def _state(number: int) -> str:
    from modal_proto import api_pb2

    name = api_pb2.AppState.Name(number)
    return str(name.removeprefix("APP_STATE_").partition("_DISCONNECTED")[0].lower())


def _list(environment: str | None) -> list[Any]:
    """The client lists apps for its command line only; this is the call beneath."""
    from modal._utils.async_utils import synchronize_api, synchronizer
    from modal.client import Client
    from modal.config import config
    from modal_proto import api_pb2

    inner = synchronizer._translate_in(Client.from_env())

    async def ask() -> Any:
        name = environment or config.get("environment") or ""
        return await inner._stub.AppList(api_pb2.AppListRequest(environment_name=name))

    return list(synchronize_api(ask)().apps)
