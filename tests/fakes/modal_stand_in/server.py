"""The server: python -m tests.fakes.modal_stand_in.server FOLDER. Prints where it is as JSON; ends with its standard input."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import grpclib.server
from aiohttp import web
from modal_proto import api_pb2 as api
from tests.fakes.modal_stand_in.images import Images, prune
from tests.fakes.modal_stand_in.wire import Faults, Wire


class Cloud(Images):
    """All parts together, and what tests ask of it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.faults = Faults()
        self.http = ""

    def address(self, digest: str) -> str:
        """Where a block can be fetched and put."""
        return f"{self.http}/block/{digest}"

    def do_clear(self) -> None:
        self.faults.clear()
        self.without.clear()
        self.overlaps.clear()

    def do_apps(self) -> list[dict[str, Any]]:
        return [
            {
                "id": app.id, "description": app.description, "tags": app.tags, "running": self.running_tasks(app),
                "state": api.AppState.Name(app.state).removeprefix("APP_STATE_").lower(), "log": "".join(text for _, text in app.log),
            }
            for app in self.apps.values()
        ]  # fmt: skip

    def do_calls(self) -> list[dict[str, Any]]:
        return [
            {
                "id": call.id, "app_id": call.function.app.id, "deliveries": call.deliveries, "retry_count": call.retry_count,
                "status": call.state if call.output is None
                else api.GenericResult.GenericStatus.Name(call.output.result.status).removeprefix("GENERIC_STATUS_").lower(),
            }
            for call in self.calls.values()
        ]  # fmt: skip

    def do_containers(self) -> list[dict[str, Any]]:
        return [
            {
                "task_id": one.task_id, "call_id": one.call_id, "app_id": one.app.id, "running": one.running, "how": one.how,
                "gpu": one.gpu, "began": one.began_at, "committed": one.committed_at,
            }
            for one in self.containers
        ]  # fmt: skip

    def do_overlaps(self) -> list[str]:
        return self.overlaps

    def do_dicts(self) -> list[str]:
        return [
            text.decode("latin-1")
            for entries in self.dicts.values()
            for pair in entries.items()
            for text in pair
        ]

    def do_built(self) -> list[str]:
        return self.built

    def do_volume(self, name: str) -> str:
        return str(self.volume_folder(self.volume_names[name])) if name in self.volume_names else ""

    def do_preempt(self, call: str, grace: float) -> None:
        if (container := self.calls[call].container) is not None:
            container.preempt(grace)

    def do_kill(self, call: str, how: str) -> None:
        if (container := self.calls[call].container) is not None:
            container.kill(how)

    def do_freeze(self, seconds: float) -> None:
        self.faults.freeze(seconds)

    def do_expire(self, call: str) -> None:
        self.calls[call].expired = True

    def do_capacity(self, gpu: str, available: bool) -> None:
        (self.without.discard if available else self.without.add)(gpu)

    def do_fail(self, rpc: str, times: int, status: str, message: str, after: bool) -> None:
        self.faults.add(rpc, times, status, message, after)

    def do_secret(self, name: str, values: dict[str, str]) -> None:
        self.secret_names[name] = f"st-{name}"
        self.secrets[f"st-{name}"] = values

    async def do_stop(self, app: str) -> None:
        await self.end_app(self.apps[app])


async def serve(folder: Path) -> None:
    """Until standard input ends."""
    prune()
    cloud = Cloud(folder)

    async def get_block(request: web.Request) -> web.Response:
        await cloud.faults.thaw()
        path = cloud.block(request.match_info["digest"])
        return web.Response(body=path.read_bytes()) if path.exists() else web.Response(status=404)

    async def put_block(request: web.Request) -> web.Response:
        await cloud.faults.thaw()
        data = await request.read()
        # A block comes without the zeros at its end, and is still called by the digest of all of it.
        path = cloud.block(request.match_info["digest"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return web.Response(body=b"put")

    async def control(request: web.Request) -> web.Response:
        answer = getattr(cloud, f"do_{request.match_info['what']}")(**(await request.json()))
        return web.json_response(await answer if asyncio.iscoroutine(answer) else answer)

    routes = web.Application(client_max_size=1 << 30)
    routes.add_routes(
        [
            web.get("/block/{digest}", get_block),
            web.put("/block/{digest}", put_block),
            web.post("/do/{what}", control),
        ]
    )
    runner = web.AppRunner(routes, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    cloud.http = f"http://127.0.0.1:{runner.addresses[0][1]}"
    server = grpclib.server.Server([Wire(cloud, cloud.faults)])
    await server.start("127.0.0.1", 0)
    assert server._server is not None
    port = server._server.sockets[0].getsockname()[1]
    work = [asyncio.create_task(cloud.schedule()), asyncio.create_task(cloud.watch_apps())]
    print(json.dumps({"grpc": f"http://127.0.0.1:{port}", "http": cloud.http}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for one in work:
        one.cancel()
    for container in cloud.containers:
        container.kill("closed")
    await asyncio.sleep(0.5)
    os._exit(0)


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]).absolute()))
