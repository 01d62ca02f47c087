"""Containers: each a process of Modal's own runtime in namespaces of its own, over its image, with its volumes and secrets."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import grpclib.server
from modal_proto import api_pb2 as api
from tests.fakes.modal_stand_in.objects import new_id
from tests.fakes.modal_stand_in.volumes import WorkingCopy
from tests.fakes.modal_stand_in.wire import Wire


class Container:
    """One container, for one input. `how` says how it ended."""

    def __init__(self, cloud: Any, call: Any, definition: Any, gpu: str) -> None:
        self.cloud = cloud
        self.call_id = call.id
        self.task_id = new_id("ta")
        self.app = call.function.app
        self.function_id = call.function.id
        self.definition = definition
        self.gpu = gpu
        self.volumes: dict[str, WorkingCopy] = {}
        self.given = False
        self.how = ""
        self.running = True
        self.started_at, self.began_at, self.ended_at = time.time(), 0.0, 0.0
        self.committed_at = 0.0
        self._folder: Path = cloud.folder / "containers" / self.task_id
        self._process: asyncio.subprocess.Process | None = None
        self._server: grpclib.server.Server | None = None
        self._tasks: list[asyncio.Task[Any]] = []

    async def start(self) -> None:
        """Begin, and watch it to its end."""
        self._later(self._live())

    def begin(self) -> None:
        """It has its input: the time limit runs."""
        self.given, self.began_at = True, time.time()
        if self.definition.timeout_secs:
            self._later(self._limit(self.definition.timeout_secs))

    def kill(self, how: str) -> None:
        """At once, without a word."""
        if self.running:
            self.how = self.how or how
            if self._process is not None and self._process.returncode is None:
                # unshare's child, PID 1 in there, dies with it, and all else with that.
                self._process.kill()

    def preempt(self, grace: float) -> None:
        """SIGINT, and the end after the grace."""
        self.how = "preempted"
        self._signal("INT")
        self._later(self._kill_later(grace, "preempted"))

    def end(self, seconds: float) -> None:
        """SIGTERM, and the end after so many seconds."""
        self.how = "stopped"
        self._signal("TERM")
        self._later(self._kill_later(seconds, "stopped"))

    def _signal(self, name: str) -> None:
        if self._process is not None and self._process.stdin is not None and self._process.returncode is None:
            self._process.stdin.write(f"{name}\n".encode())
        elif self._process is None:
            self.kill(self.how)

    async def _live(self) -> None:
        try:
            await self._boot()
            assert self._process is not None
            assert self._process.stdout is not None
            if self.how:
                self._process.kill()
            async for line in self._process.stdout:
                self.app.log.append((time.time(), line.decode(errors="replace")))
            await self._process.wait()
        finally:
            self.running, self.ended_at = False, time.time()
            if self._server is not None:
                self._server.close()
            await self.cloud.container_ended(self)
            for one in self._tasks[1:]:
                one.cancel()
            await asyncio.to_thread(shutil.rmtree, self._folder, True)

    async def _boot(self) -> None:
        self._folder.mkdir(parents=True)
        self._server = grpclib.server.Server([Wire(self.cloud, self.cloud.faults, self)])
        await self._server.start("127.0.0.1", 0)
        assert self._server._server is not None
        port = self._server._server.sockets[0].getsockname()[1]
        image = self.cloud.images[self.definition.image_id]
        shared = {}
        for number, mount in enumerate(self.definition.volume_mounts):
            place = self._folder / f"volume-{number}"
            copy = WorkingCopy(self.cloud.volume_folder(mount.volume_id), place)
            self.volumes[mount.volume_id] = copy
            shared[str(place)] = mount.mount_path
        secrets: dict[str, str] = {}
        for secret in self.definition.secret_ids:
            secrets |= self.cloud.secrets[secret]
        arguments = api.ContainerArguments(
            task_id=self.task_id, function_id=self.function_id, app_id=self.app.id, function_def=self.definition,
            app_layout=self.cloud.layout(self.app), environment_name="main",
        )  # fmt: skip
        (self._folder / "arguments").write_bytes(arguments.SerializeToString())
        about = {
            "layers": image.layers,
            "shared": shared,
            "environment": image.environment
            | secrets
            | {
                "MODAL_SERVER_URL": f"http://127.0.0.1:{port}", "MODAL_IS_REMOTE": "1", "MODAL_TASK_ID": self.task_id,
                "MODAL_IMAGE_ID": image.id, "MODAL_CONTAINER_ARGUMENTS_PATH": "/run/modal/arguments", "MODAL_HEARTBEAT_INTERVAL": "2",
                "MODAL_FUNCTION_RUNTIME": "stand-in", "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive",
                "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1",
            },
            "workdir": image.workdir,
        }  # fmt: skip
        # Secrets go over standard input: nobody who lists processes or files sees them.
        self._process = await asyncio.create_subprocess_exec(
            "unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", sys.executable,
            str(Path(__file__).with_name("init.py")), str(self._folder),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.environ["PATH"]}, limit=1 << 24,
        )  # fmt: skip
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(about).encode() + b"\n")

    async def _limit(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self.kill("timeout")

    async def _kill_later(self, seconds: float, how: str) -> None:
        await asyncio.sleep(seconds)
        self.kill(how)

    def _later(self, work: Any) -> None:
        self._tasks.append(asyncio.create_task(work))
