"""What tests talk to: starts the stand-in, gives the client its address, and does to containers what the world does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.fakes.ec2.client import REPOSITORY, UV_CACHE
from tests.fakes.modal_stand_in.images import LAYERS
from tests.fakes.modal_stand_in.wire import TOKEN


def missing() -> str | None:
    """What the stand-in lacks here; None where it can run."""
    if os.geteuid() != 0:
        return "it needs root, for namespaces and overlays"
    return None if shutil.which("unshare") else "unshare is not installed"


class ModalCloud:
    """Runs from construction to `close`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        UV_CACHE.mkdir(parents=True, exist_ok=True)
        (folder / "modal.toml").touch()
        log = (folder / "server.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.modal_stand_in.server", str(folder / "state")],
            cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, (folder / "server.log").read_text()
        self._at = json.loads(line)

    def environment(self) -> dict[str, str]:
        """What a client needs."""
        return {
            "MODAL_SERVER_URL": self._at["grpc"],
            "MODAL_TOKEN_ID": TOKEN[0],
            "MODAL_TOKEN_SECRET": TOKEN[1],
            "MODAL_CONFIG_PATH": str(self.folder / "modal.toml"),
        }

    def apps(self) -> list[dict[str, Any]]:
        """id, description, state, tags, running, log."""
        return self._do("apps")  # type: ignore[no-any-return]

    def live(self) -> list[str]:
        """Apps that may cost."""
        return [app["id"] for app in self.apps() if app["state"] not in ("stopped", "disabled")]

    def calls(self) -> list[dict[str, Any]]:
        """id, app_id, deliveries, retry_count, status."""
        return self._do("calls")  # type: ignore[no-any-return]

    def call(self, call: str) -> dict[str, Any]:
        """One of them."""
        return next(one for one in self.calls() if one["id"] == call)

    def containers(self) -> list[dict[str, Any]]:
        """task_id, call_id, app_id, running, how, gpu, began, committed."""
        return self._do("containers")  # type: ignore[no-any-return]

    def overlaps(self) -> list[str]:
        """Inputs that two containers worked on at once."""
        return self._do("overlaps")  # type: ignore[no-any-return]

    def dicts(self) -> list[str]:
        """Keys and values of every dict, as bytes one to one in text."""
        return self._do("dicts")  # type: ignore[no-any-return]

    def built(self) -> list[str]:
        """Commands of images that were carried out."""
        return self._do("built")  # type: ignore[no-any-return]

    def volume(self, name: str) -> Path:
        """Where its committed content is."""
        return Path(self._do("volume", name=name) or self.folder / "no-such-volume")

    def stored(self) -> Iterator[Path]:
        """Every file that the stand-in keeps for its users, and how images were made; secrets are in its memory."""
        yield from self.folder.rglob("*")
        yield from LAYERS.glob("*/build.json")

    def clear(self) -> None:
        """All is well again."""
        self._do("clear")

    def preempt(self, call: str, grace: float = 30.0) -> None:
        """Modal takes the container away: SIGINT, and the end after the grace."""
        self._do("preempt", call=call, grace=grace)

    def kill(self, call: str, how: str = "host") -> None:
        """The container dies without a word: its host failed ("host"), or its memory ran out ("oom")."""
        self._do("kill", call=call, how=how)

    def freeze(self, seconds: float) -> None:
        """Nothing is answered for so long."""
        self._do("freeze", seconds=seconds)

    def expire(self, call: str) -> None:
        """Its result is no longer kept."""
        self._do("expire", call=call)

    def capacity(self, gpu: str, *, available: bool) -> None:
        """Whether a GPU is to be had."""
        self._do("capacity", gpu=gpu, available=available)

    def fail(
        self, rpc: str, times: int = 1, status: str = "UNAVAILABLE", message: str = "", after: bool = False
    ) -> None:
        """The next calls of that name fail; `after` their work was done, or before."""
        self._do("fail", rpc=rpc, times=times, status=status, message=message, after=after)

    def set_secret(self, name: str, values: dict[str, str]) -> None:
        """As on Modal's dashboard."""
        self._do("secret", name=name, values=values)

    def stop(self, app: str) -> None:
        """As on Modal's dashboard."""
        self._do("stop", app=app)

    def close(self) -> None:
        """Switch everything off."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()

    def _do(self, what: str, **arguments: Any) -> Any:
        request = urllib.request.Request(
            f"{self._at['http']}/do/{what}", data=json.dumps(arguments).encode(),
            headers={"Content-Type": "application/json"}, method="POST",
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=90) as answer:
            return json.loads(answer.read())
