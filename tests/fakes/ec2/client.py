"""What tests talk to: starts the stand-in, gives boto3 its address, and does to machines what the world does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[3]
FAKE_RUNNER = REPOSITORY / "tests/cloud/stand_in_runner.py"
COMPILED = "/var/cache/uv/compiled"
"""In machines. Each has another environment of the same packages: compiling torch and the like once more takes half a minute."""
UV_CACHE = Path(os.environ.get("TENYSON_TEST_UV_CACHE", "/var/tmp/tenyson-test-uv"))


def missing() -> str | None:
    """What the stand-in lacks here; None where it can run."""
    if os.geteuid() != 0:
        return "it needs root, for namespaces and overlays"
    for program in ("sshd", "unshare", "ssh-keygen"):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
            return f"{program} is not installed"
    return None


class StandIn:
    """Runs from construction to `close`."""

    def __init__(self, folder: Path, *, environment: dict[str, str] | None = None) -> None:
        self.folder = folder
        UV_CACHE.mkdir(parents=True, exist_ok=True)
        uv = Path(sys.executable).with_name("uv")
        tools = folder / "tools"
        tools.mkdir(parents=True)
        shutil.copy(uv, tools / "uv")
        image = {
            # Of the checkout and its environment nothing is seen: a job has what was sent to it.
            "hidden": sorted({str(REPOSITORY), str(Path(sys.prefix)), "/root"}),
            "shared": {
                str(UV_CACHE): "/var/cache/uv",
                str(tools): "/usr/local/bin",
                str(FAKE_RUNNER.parent): "/opt/fake",
            },
            "files": {
                "/etc/uv/uv.toml": 'cache-dir = "/var/cache/uv"\nlink-mode = "symlink"\n'
                + (f'find-links = ["{links}"]\n' if (links := os.environ.get("PIP_FIND_LINKS")) else "")
            },
            "environment": {
                "OMP_NUM_THREADS": "1",
                "OMP_WAIT_POLICY": "passive",
                "HF_HUB_OFFLINE": "1",
                "SSL_CERT_FILE": "/etc/ssl/certs/ca-certificates.crt",
                "PYTHONPYCACHEPREFIX": COMPILED,
                **(environment or {}),
            },
        }
        log = (folder / "server.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.ec2.server", str(folder / "machines"), json.dumps(image)],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, (folder / "server.log").read_text()
        self.url = f"http://127.0.0.1:{int(line)}"
        self.environment = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "TENYSON_HOME": str(UV_CACHE.with_name("tenyson-test-home")),
        }
        self.settings: dict[str, Any] = {
            "instance_type": "g5.2xlarge",
            "user": "root",
            "ssh_port": 2222,
            "ssh_from": "127.0.0.1/32",
            "python": "3.11",
            "poll_seconds": 0.3,
        }
        self.runners = {
            "fake": ["{python}", f"/opt/fake/{FAKE_RUNNER.name}"],
            "ticking": ["{python}", "-m", "tenyson.testing.ticking"],
        }
        """For the setting `runner`: jobs without training."""

    def do(self, what: str, **arguments: Any) -> Any:
        """One of the layer's `control_...`."""
        request = urllib.request.Request(
            f"{self.url}/_stand-in/{what}", data=json.dumps(arguments).encode(), method="POST"
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def rule(self, action: str, effect: str, **more: Any) -> None:
        """A fault from now on."""
        self.do("rule", action=action, effect=effect, **more)

    @property
    def state(self) -> dict[str, Any]:
        """calls, launched, machines."""
        found: dict[str, Any] = self.do("state")
        return found

    def live(self) -> list[str]:
        """Machines that cost."""
        return [
            name
            for name, one in self.state["machines"].items()
            if one["alive"] or one["state"] != "terminated"
        ]

    def close(self) -> None:
        """Switch everything off."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
