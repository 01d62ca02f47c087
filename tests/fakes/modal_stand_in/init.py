"""PID 1 of a container: makes its root, starts Modal's runtime in it, passes signals on, and ends with it.

    unshare --mount --pid --uts --fork --kill-child python3 init.py FOLDER

The first line of standard input is what the container is, as JSON; every later one is the name of a signal.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from root import mount_root, run  # type: ignore[import-not-found]

sys.path.insert(0, str(Path(__file__).parents[3]))
from tests.fakes.modal_stand_in.images import CACHE, LAYERS, UV_CACHE, links

folder = Path(sys.argv[1])
about = json.loads(sys.stdin.readline())
root = folder / "root"
run("mount", "--make-rprivate", "/")
(folder / "layer").mkdir()
run("mount", "-t", "tmpfs", "tmpfs", folder / "layer")
lower = [str(LAYERS / one / "upper") for one in about["layers"]]
shared = {str(UV_CACHE): CACHE, **links(), **about["shared"]}
mount_root(root, lower, folder / "layer/upper", folder / "layer/work", shared)
(root / "run/modal").mkdir()
(root / "run/modal/arguments").write_bytes((folder / "arguments").read_bytes())
run("hostname", "modal")
os.chroot(root)
Path(about["workdir"]).mkdir(parents=True, exist_ok=True)
os.chdir(about["workdir"])
runtime = subprocess.Popen(
    ["python", "-u", "-m", "modal._container_entrypoint"], env=about["environment"], stdin=subprocess.DEVNULL
)


def pass_on() -> None:
    """Signals that the cloud sends."""
    for line in sys.stdin:
        if runtime.poll() is None:
            runtime.send_signal(getattr(signal, f"SIG{line.strip()}"))


threading.Thread(target=pass_on, daemon=True).start()
# The last of the kernel: everything in the namespace dies with us.
os._exit(runtime.wait() & 0xFF)
