"""The image: what the container has installed. Layers that seldom change come first, so that Modal rebuilds few of them:
the packages of the index, which take minutes, before the wheels of what is installed from source here, which take seconds.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tenyson.cloud.remote.bundle import Bundle
from tenyson.core.files.atomic import write_text
from tenyson_modal.settings import ModalSettings

if TYPE_CHECKING:
    import modal

PLACE = "/opt/tenyson"


def make_image(bundle: Bundle, settings: ModalSettings) -> modal.Image:
    """Described only: Modal makes it when an app needs it."""
    import modal

    if settings.image:
        base = modal.Image.from_registry(settings.image, add_python=settings.python)
    else:
        base = modal.Image.debian_slim(python_version=settings.python)
    if settings.apt:
        base = base.apt_install(*settings.apt)
    pins = f"--constraints {PLACE}/constraints.txt"
    image = base.add_local_file(_constraints(bundle), f"{PLACE}/constraints.txt", copy=True)
    image = image.uv_pip_install(*bundle.foundation, extra_options=pins)
    for wheel in bundle.wheels:
        image = image.add_local_file(wheel, f"{PLACE}/wheels/{wheel.name}", copy=True)
    packages = [line.replace("file://WHEELS/", f"file://{PLACE}/wheels/") for line in bundle.requirements]
    return image.uv_pip_install(*packages, extra_options=pins)


def _constraints(bundle: Bundle) -> Path:
    """As a file here, which keeps its name for the same content."""
    folder = Path(os.environ.get("TENYSON_HOME") or "~/.tenyson").expanduser() / "parcels" / bundle.key
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "constraints.txt"
    text = "\n".join(bundle.constraints) + "\n"
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)
    return path
