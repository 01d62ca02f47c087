"""Makes one layer of an image, in namespaces of its own: unshare ... python3 build.py FOLDER. What it prints is the build's log."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from root import mount_root  # type: ignore[import-not-found]

folder = Path(sys.argv[1])
about = json.loads((folder / "build.json").read_text())
root = folder / "root"


def take(source: str, target: str) -> None:
    """COPY out of the context."""
    context = Path(about["context"])
    found = context / source.strip("/") if source.strip("./") else context
    place = root / target.lstrip("/")
    if found.is_dir():
        shutil.copytree(found, place, dirs_exist_ok=True)
    else:
        place = place / found.name if target.endswith("/") else place
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(found, place)


mount_root(root, about["lower"], Path(about["upper"]), folder / "work", about["shared"])
for step in about["steps"]:
    if "write" in step:
        place = root / step["write"].lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(step["text"])
    elif "copy" in step:
        place = root / step["to"].lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(step["copy"], place)
    elif "take" in step:
        take(step["take"], step["to"])
    else:
        print(f"=> RUN {step['run']}", flush=True)
        (root / step["workdir"].lstrip("/")).mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            ["chroot", root, "sh", "-c", f"cd {step['workdir']} && {step['run']}"],
            env=step["environment"], stdin=subprocess.DEVNULL, stdout=sys.stdout, stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        if done.returncode:
            os._exit(1)
os._exit(0)
