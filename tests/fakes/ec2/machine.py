"""A machine: what stands behind one instance id."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fakes.ec2.metadata import PORT as IMDS_PORT
from tests.fakes.ec2.metadata import Metadata
from tests.fakes.ec2.wire import Wire

SSH_PORT = 2222
_SSHD_PORT = 2223


class Machine:
    """Boots at once. `ended` is called when it shut itself down, with True, or died, with False."""

    def __init__(
        self,
        folder: Path,
        address: str,
        instance_id: str,
        *,
        user_data: str,
        public_key: str,
        image: dict[str, Any],
        ended: Callable[[bool], None],
        boot_seconds: float = 0.0,
    ) -> None:
        self.address = address
        self.id = instance_id
        self.folder = folder
        self.stopped = False
        self._ended = ended
        folder.mkdir(parents=True)
        about = {
            "address": self.address,
            "sshd_port": _SSHD_PORT,
            "hostname": f"ip-{self.address.replace('.', '-')}",
            "user_data": base64.b64decode(user_data).decode() if user_data else "",
            "hidden": image["hidden"],
            "shared": image["shared"],
            "files": image["files"],
            "environment": {
                **image["environment"],
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": f"http://{self.address}:{IMDS_PORT}",
                "AWS_DEFAULT_REGION": "us-east-1",
            },
        }
        (folder / "machine.json").write_text(json.dumps(about))
        (folder / "authorized_keys").write_text(public_key.strip() + "\n")
        self.metadata = Metadata(self.address, instance_id)
        self.wire = Wire(self.address, SSH_PORT, (self.address, _SSHD_PORT))
        self.process: subprocess.Popen[bytes] | None = None
        threading.Thread(target=self._live, args=(boot_seconds,), daemon=True).start()

    @property
    def console(self) -> str:
        """What it wrote on its console."""
        try:
            return (self.folder / "console").read_text(errors="replace")
        except OSError:
            return ""

    def kill(self) -> None:
        """The plug is pulled."""
        self.stopped = True
        if self.process is not None and self.process.poll() is None:
            # unshare kills its child, PID 1 of the namespace, when it dies; the kernel kills the rest.
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        self._tidy()

    def _live(self, boot_seconds: float) -> None:
        time.sleep(boot_seconds)
        if self.stopped:
            return
        log = (self.folder / "init.log").open("wb")
        self.process = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--uts", "--fork", "--kill-child", sys.executable,
             str(Path(__file__).with_name("init.py")), str(self.folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        code = self.process.wait()
        if not self.stopped:
            self.stopped = True
            self._tidy()
            self._ended(code == 10)

    def _tidy(self) -> None:
        self.wire.close()
        self.metadata.close()
        for name in ("root", "layers"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
