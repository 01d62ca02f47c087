"""Third-party plugins, installed for real into a folder on sys.path: modules and a .dist-info, as pip leaves them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest


class Site:
    """A folder on sys.path, of this process and of those that `tenyson` starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def install(self, distribution, points, modules, *, version="1.0", commands=None):
        """Install a distribution: `points` and `commands` are entry points, `modules` maps names to source."""
        for name, source in modules.items():
            (self.folder / f"{name}.py").write_text(dedent(source), encoding="utf-8")
        info = self.folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        groups = {"tenyson": points, "tenyson.commands": commands or {}}
        text = "".join(
            f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())
            for group, lines in groups.items()
        )
        (info / "entry_points.txt").write_text(text)

    def tenyson(self, *arguments, **environment):
        """Run the command line in a process that sees what is installed here."""
        return subprocess.run(
            [Path(sys.executable).parent / "tenyson", *arguments],
            env={**os.environ, "PYTHONPATH": str(self.folder), **environment},
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
        )


@pytest.fixture
def site(tmp_path, monkeypatch):
    folder = tmp_path / "site"
    folder.mkdir()
    known = set(sys.modules)
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delenv("TENYSON_PLUGINS", raising=False)
    yield Site(folder)
    for name in set(sys.modules) - known:
        if str(getattr(sys.modules[name], "__file__", "") or "").startswith(str(folder)):
            del sys.modules[name]


HELLO = """
    from tenyson.plugins import TaskEntry, hookimpl

    @hookimpl
    def tenyson_tasks():
        return [TaskEntry(name="hello", summary="Say hello", load="hello_task:HelloTask")]
"""
HELLO_TASK = """
    from tenyson.tasks import Preset, PresetStep, TaskPlugin

    class HelloTask(TaskPlugin):
        name = "hello"

        @classmethod
        def presets(cls):
            step = PresetStep("before", "eval", {"model": {"name": "m"}})
            return {"small": Preset("small", "A first try", (step,), hardware="any machine")}
"""


@pytest.fixture
def hello(site):
    """A tiny third-party plugin with one task."""
    site.install(
        "acme-hello",
        {"hello": "hello_plugin"},
        {"hello_plugin": HELLO, "hello_task": HELLO_TASK},
        version="2.3",
    )
    return site


@pytest.fixture(scope="session")
def installed_page(tmp_path_factory):
    """Builds the files of a how-to into a wheel, installs it, and returns the folder that it is in."""

    def install(page):
        source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
        for name, text in re.findall(
            r"^`([\w./]+)`[^\n]*:\n\n```\w+\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE
        ):
            path = source / name
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        build = [
            sys.executable,
            "-m",
            "build",
            "--wheel",
            "--no-isolation",
            "--outdir",
            source / "dist",
            source,
        ]
        subprocess.run(build, check=True, capture_output=True)
        (wheel,) = (source / "dist").iterdir()
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target"]
        subprocess.run([*install, site, wheel], check=True, capture_output=True)
        return site

    return install
