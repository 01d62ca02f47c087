"""Apps: made, published, left by their clients, stopped."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

from google.protobuf.empty_pb2 import Empty
from modal_proto import api_pb2 as api
from tests.fakes.modal_stand_in.objects import missing, new_id
from tests.fakes.modal_stand_in.volumes import Volumes

HEARTBEAT_SECONDS = 60.0
"""An app that is not detached ends when its client was silent for so long."""
LINGER_SECONDS = 2.0
"""A detached app whose client is gone ends so long after its last input."""


@dataclass
class App:
    """One app."""

    id: str
    description: str
    state: int
    tags: dict[str, str]
    created_at: float = field(default_factory=time.time)
    stopped_at: float = 0.0
    heard_at: float = field(default_factory=time.time)
    idle_since: float = field(default_factory=time.time)
    function_ids: dict[str, str] = field(default_factory=dict)
    log: list[tuple[float, str]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        """Whether nothing more runs in it."""
        return self.state == api.APP_STATE_STOPPED


class Apps(Volumes):
    """A part of the cloud."""

    def __init__(self) -> None:
        super().__init__()
        self.apps: dict[str, App] = {}

    async def end_app(self, app: App) -> None:
        """Stop what runs in it."""
        raise NotImplementedError

    def is_busy(self, app: App) -> bool:
        """Whether an input of it waits or runs."""
        raise NotImplementedError

    def running_tasks(self, app: App) -> int:
        """How many containers it has."""
        raise NotImplementedError

    def _app(self, app_id: str) -> App:
        if app_id not in self.apps:
            raise missing(f"App '{app_id}'")
        return self.apps[app_id]

    async def watch_apps(self) -> None:
        """Ends those that nobody needs, for ever."""
        while True:
            await asyncio.sleep(0.5)
            for app in list(self.apps.values()):
                if app.over:
                    continue
                if self.is_busy(app):
                    app.idle_since = time.time()
                left = app.state == api.APP_STATE_DETACHED_DISCONNECTED
                silent = time.time() - app.heard_at > HEARTBEAT_SECONDS
                if (left and time.time() - app.idle_since > LINGER_SECONDS) or (
                    app.state == api.APP_STATE_EPHEMERAL and silent
                ):
                    await self.end_app(app)

    async def AppCreate(self, request: Any, _task: Any) -> Any:
        app = App(new_id("ap"), request.description, request.app_state, dict(request.tags))
        self.apps[app.id] = app
        return api.AppCreateResponse(
            app_id=app.id, app_page_url="http://stand-in/", app_logs_url="http://stand-in/"
        )

    async def AppHeartbeat(self, request: Any, _task: Any) -> Any:
        self._app(request.app_id).heard_at = time.time()
        return Empty()

    async def AppPublish(self, request: Any, _task: Any) -> Any:
        app = self._app(request.app_id)
        app.function_ids = dict(request.function_ids)
        app.state = request.app_state
        return api.AppPublishResponse(url="http://stand-in/", deployed_at=time.time())

    async def AppClientDisconnect(self, request: Any, _task: Any) -> Any:
        app = self._app(request.app_id)
        if app.state == api.APP_STATE_DETACHED:
            app.state, app.idle_since = api.APP_STATE_DETACHED_DISCONNECTED, time.time()
        elif not app.over:
            await self.end_app(app)
        return Empty()

    async def AppStop(self, request: Any, _task: Any) -> Any:
        await self.end_app(self._app(request.app_id))
        return Empty()

    async def AppList(self, _request: Any, _task: Any) -> Any:
        items = [
            api.AppListResponse.AppListItem(
                app_id=app.id,
                description=app.description,
                state=app.state,
                created_at=app.created_at,
                stopped_at=app.stopped_at,
                n_running_tasks=self.running_tasks(app),
            )
            for app in self.apps.values()
        ]
        return api.AppListResponse(apps=items)

    async def AppGetOrCreate(self, request: Any, _task: Any) -> Any:
        app = self._app(request.app_name)
        return api.AppGetOrCreateResponse(app_id=app.id, handle_metadata=self._about_app(app))

    async def AppGetInfo(self, request: Any, _task: Any) -> Any:
        return api.AppGetInfoResponse(info=self._about_app(self._app(request.app_id)))

    def _about_app(self, app: App) -> Any:
        return api.AppHandleMetadata(
            description=app.description,
            app_id=app.id,
            lifecycle=self._lifecycle(app),
            functions=app.function_ids,
        )

    async def AppGetLifecycle(self, request: Any, _task: Any) -> Any:
        return api.AppGetLifecycleResponse(lifecycle=self._lifecycle(self._app(request.app_id)))

    async def AppGetTags(self, request: Any, _task: Any) -> Any:
        return api.AppGetTagsResponse(tags=self._app(request.app_id).tags)

    async def AppGetLayout(self, request: Any, _task: Any) -> Any:
        return api.AppGetLayoutResponse(app_layout=self.layout(self._app(request.app_id)))

    async def AppFetchLogs(self, request: Any, _task: Any) -> Any:
        items = [
            api.TaskLogs(data=text, timestamp=at, file_descriptor=api.FILE_DESCRIPTOR_STDOUT)
            for at, text in self._app(request.app_id).log
        ]
        return api.AppFetchLogsResponse(batches=[api.TaskLogsBatch(items=items)])

    async def AppGetLogs(self, _request: Any, _task: Any) -> AsyncIterator[Any]:
        yield api.TaskLogsBatch(app_done=True)

    def layout(self, app: App) -> Any:
        """What its containers are told of it."""
        return api.AppLayout(
            objects=[api.Object(object_id=one) for one in app.function_ids.values()],
            function_ids=app.function_ids,
        )

    def _lifecycle(self, app: App) -> Any:
        return api.AppLifecycle(
            app_state=app.state, created_at=app.created_at, created_by="stand-in", stopped_at=app.stopped_at
        )
