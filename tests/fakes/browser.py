"""A real Chromium without a window: opens a file and tells what became of it and what it asked the network for."""

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-default-apps", "--disable-sync", "--disable-extensions", "--hide-scrollbars",
    "--disable-features=OptimizationHints,MediaRouter,Translate", "--virtual-time-budget=2000", "--window-size=1000,4000",
)  # fmt: skip

OWN = re.compile(r"https?://([\w.-]+\.)?(google|googleapis|gvt1)\.com/")
"""What Chromium itself asks for, whatever page is open."""


@dataclass
class Opened:
    """A page after it was loaded."""

    dom: str
    """The document as HTML, after anything that could run has run."""
    requests: list[str]
    """URLs that the browser asked for over the network: neither the file itself nor what is inside it."""
    screenshot: Path


def open_file(path: Path, folder: Path) -> Opened:
    """Open an HTML file. Skips the test where there is no Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed")
    log, image = folder / "net.json", folder / "page.png"
    own = [f"--user-data-dir={folder / 'profile'}", f"--log-net-log={log}", f"--screenshot={image}"]
    done = subprocess.run(
        [program, *FLAGS, *own, "--dump-dom", path.resolve().as_uri()], capture_output=True, text=True, timeout=120, check=True
    )  # fmt: skip
    urls = {
        event["params"]["url"]
        for event in json.loads(log.read_text())["events"]
        if isinstance(event.get("params"), dict)
        and str(event["params"].get("url", "")).startswith(("http", "ws"))
    }
    return Opened(done.stdout, sorted(urls), image)
