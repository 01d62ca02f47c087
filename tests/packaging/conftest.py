"""Wheels of all packages, and clean virtual environments that they are installed into."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "tenyson-core": "tenyson-core",
    "tenyson-aws": "tenyson-aws",
    "tenyson-modal": "tenyson-modal",
    "tenyson-wordle": "tenyson-wordle",
    "tenyson-reasoning-gym": "plugins/tenyson-reasoning-gym",
    "tenyson-textarena": "plugins/tenyson-textarena",
    "tenyson-openenv": "plugins/tenyson-openenv",
    "tenyson-verifiers": "plugins/tenyson-verifiers",
}
"""Their folders by name."""


@dataclass(frozen=True)
class Venv:
    """A virtual environment without pip; packages come in through the pip of the tests' own environment."""

    path: Path

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    @property
    def site_packages(self) -> Path:
        return next((self.path / "lib").glob("python*/site-packages"))

    def install(self, *what: str | Path) -> None:
        """pip install, with the tested versions."""
        constraints = str(ROOT / "constraints.txt")
        pip = [
            sys.executable,
            "-m",
            "pip",
            "-qq",
            "--disable-pip-version-check",
            "--python",
            str(self.python),
        ]
        _run([*pip, "install", "--no-compile", "-c", constraints, *map(str, what)])

    def run(self, *arguments: str | Path, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
        """Run a program of this environment outside of the repository; returns whatever came of it."""
        program = self.path / "bin" / str(arguments[0])
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "TENYSON"))
        }
        command = [str(program), *map(str, arguments[1:])]
        return subprocess.run(
            command, cwd=cwd, env=clean | environ, capture_output=True, text=True, timeout=300, check=False
        )


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"


def _make(path: Path) -> Venv:
    _run([sys.executable, "-m", "venv", "--without-pip", str(path)])
    return Venv(path)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One wheel for each package, built from a copy of what is checked out."""
    target = tmp_path_factory.mktemp("wheels")
    for folder in PACKAGES.values():
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target)]
        _run([*build, str(ROOT / folder)])
    return {package: next(target.glob(f"{package.replace('-', '_')}-*.whl")) for package in PACKAGES}


@pytest.fixture(scope="session")
def light(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """Nothing but tenyson-core and what it depends on."""
    venv = _make(tmp_path_factory.mktemp("light") / "venv")
    venv.install(wheels["tenyson-core"])
    return venv


@pytest.fixture(scope="session")
def installed(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """All wheels with their dependencies; no torch."""
    venv = _make(tmp_path_factory.mktemp("installed") / "venv")
    venv.install(*wheels.values())
    return venv


@pytest.fixture(scope="session")
def training(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Venv:
    """All wheels, with torch and its relatives borrowed from the tests' own environment.

    Installing gigabytes again would show nothing about our wheels. A .pth file puts the other site-packages at the end of
    the path; what is editable there stays out, since .pth files of a folder added by a .pth file are not read.
    """
    venv = _make(tmp_path_factory.mktemp("training") / "venv")
    venv.install("--no-deps", *wheels.values())
    (venv.site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return venv
