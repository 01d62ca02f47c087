"""Images: layers over layers, each made once for its content. Debian's base is taken as built: it is this machine's own /usr
and /etc with an empty Python environment of uv's; every later command is really carried out.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modal_proto import api_pb2 as api
from tests.fakes.ec2.client import COMPILED, UV_CACHE
from tests.fakes.modal_stand_in.functions import Functions
from tests.fakes.modal_stand_in.objects import BUILDER

LAYERS = Path(os.environ.get("TENYSON_TEST_MODAL_LAYERS", "/var/tmp/tenyson-test-modal-layers"))
"""Kept from one stand-in to the next, as Modal keeps them."""
KEPT_SECONDS = 3 * 86400
PYTHON = "/opt/python"
CACHE = "/var/cache/uv"
FIRST = {
    "PATH": f"{PYTHON}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "VIRTUAL_ENV": PYTHON,
    "UV_CACHE_DIR": CACHE,
    "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
    "LANG": "C.UTF-8",
    "PYTHONPYCACHEPREFIX": COMPILED,
}


@dataclass
class Image:
    """A described image, and what came of making it."""

    id: str
    layers: list[str]
    """Names of layer folders, the last one on top."""
    environment: dict[str, str]
    workdir: str = "/root"
    error: str = ""
    log: list[str] = field(default_factory=list)


class Images(Functions):
    """A part of the cloud."""

    def __init__(self) -> None:
        super().__init__()
        self.images: dict[str, Image] = {}
        self.built: list[str] = []
        """Commands that were carried out."""

    async def ImageGetOrCreate(self, request: Any, _task: Any) -> Any:
        described = request.image
        files = self._context(described)
        below = [self.images[one.image_id] for one in described.base_images]
        content = [
            *(one.id for one in below), *described.dockerfile_commands, *(f"{path} {digest}" for path, digest in files.items()),
            BUILDER,
        ]  # fmt: skip
        digest = hashlib.sha256("\n".join(content).encode()).hexdigest()
        image_id = f"im-{digest[:22]}"
        if image_id not in self.images:
            parent = below[0] if below else Image("", [], dict(FIRST))
            image = Image(
                image_id, [*parent.layers, image_id], dict(parent.environment), parent.workdir, parent.error
            )
            await asyncio.to_thread(
                self._make, image, list(described.dockerfile_commands), files, base=not below
            )
            self.images[image_id] = image
        return api.ImageGetOrCreateResponse(
            image_id=image_id, metadata=api.ImageMetadata(image_builder_version=BUILDER)
        )

    async def ImageJoinStreaming(self, request: Any, _task: Any) -> AsyncIterator[Any]:
        image = self.images[request.image_id]
        if image.log:
            yield api.ImageJoinStreamingResponse(task_logs=[api.TaskLogs(data="\n".join(image.log))])
        good = not image.error
        status = (
            api.GenericResult.GENERIC_STATUS_SUCCESS if good else api.GenericResult.GENERIC_STATUS_FAILURE
        )
        yield api.ImageJoinStreamingResponse(
            result=api.GenericResult(status=status, exception=image.error),
            metadata=api.ImageMetadata(image_builder_version=BUILDER),
            eof=True,
        )

    def _context(self, described: Any) -> dict[str, str]:
        """Paths and digests of the files that COPY may take."""
        found = {file.filename: self.put_block(file.data) for file in described.context_files}
        if described.context_mount_id:
            found |= {file.filename: file.sha256_hex for file in self.mounts[described.context_mount_id]}
        return {f"/{path.lstrip('/')}": digest for path, digest in found.items()}

    def _make(self, image: Image, commands: list[str], files: dict[str, str], *, base: bool) -> None:
        folder = LAYERS / image.id
        LAYERS.mkdir(parents=True, exist_ok=True)
        with (LAYERS / f"{image.id}.lock").open("w") as lock:
            # Of several stand-ins one makes it, and the others wait.
            fcntl.flock(lock, fcntl.LOCK_EX)
            steps = self._steps(image, commands, base)
            if (folder / "made").exists():
                (folder / "made").touch()
                return
            if image.error:
                return
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "upper").mkdir(parents=True)
            (folder / "context").mkdir()
            for path, digest in files.items():
                place = folder / "context" / path.lstrip("/")
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(self.block(digest), place)
            about = {
                "lower": [str(LAYERS / one / "upper") for one in image.layers[:-1]], "upper": str(folder / "upper"),
                "context": str(folder / "context"), "steps": steps, "shared": {str(UV_CACHE): CACHE, **links()},
            }  # fmt: skip
            (folder / "build.json").write_text(json.dumps(about))
            command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", sys.executable,
                       str(Path(__file__).with_name("build.py")), str(folder)]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            image.log = done.stdout.splitlines()
            self.built += [step["run"] for step in steps if "run" in step]
            if done.returncode:
                image.error = f"the build failed:\n{(done.stdout + done.stderr)[-3000:]}"
                return
            shutil.rmtree(folder / "context")
            (folder / "made").touch()

    def _steps(self, image: Image, commands: list[str], base: bool) -> list[dict[str, Any]]:
        if base:
            return [
                {"write": "/etc/uv/uv.toml", "text": uv_settings()},
                {"copy": str(Path(sys.executable).with_name("uv")), "to": "/opt/uv/uv"},
                {
                    "run": f"/opt/uv/uv venv --quiet --python /usr/bin/python3 {PYTHON}",
                    "environment": FIRST,
                    "workdir": "/",
                },
            ]
        steps: list[dict[str, Any]] = []
        for command in commands:
            word, _, rest = command.partition(" ")
            if word == "RUN":
                # Compiling all of torch takes minutes, and no test needs it.
                text = rest.replace("--compile-bytecode", "")
                steps.append({"run": text, "environment": dict(image.environment), "workdir": image.workdir})
            elif word == "COPY" and rest.startswith("--from="):
                place = rest.split()[-1]
                steps.append({"copy": str(Path(sys.executable).with_name("uv")), "to": place})
            elif word == "COPY":
                source, target = shlex.split(rest)
                steps.append({"take": source, "to": target})
            elif word == "ENV":
                name, _, value = rest.partition("=")
                image.environment[name] = shlex.split(value)[0] if value else ""
            elif word == "WORKDIR":
                image.workdir = rest
            elif word not in ("FROM", "CMD", "ENTRYPOINT", "SHELL", "#"):
                image.error = f"the stand-in does not know the command {word}"
        return steps


def prune() -> None:
    """Layers that nothing has used for long make room."""
    for made in LAYERS.glob("*/made"):
        if time.time() - made.stat().st_mtime > KEPT_SECONDS:
            shutil.rmtree(made.parent, ignore_errors=True)


def links() -> dict[str, str]:
    """A folder of wheels that this machine's pip takes too."""
    found = os.environ.get("PIP_FIND_LINKS")
    return {found: found} if found and Path(found).is_dir() else {}


def uv_settings() -> str:
    """As in the stand-in for EC2: packages are linked out of a cache."""
    lines = [f'cache-dir = "{CACHE}"', 'link-mode = "symlink"']
    if found := os.environ.get("PIP_FIND_LINKS"):
        lines.append(f'find-links = ["{found}"]')
    return "\n".join(lines) + "\n"
