"""A throw-away PostgreSQL server on a socket of its own, as fixtures for all tests."""

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest


class PostgresServer:
    """A throw-away server on a socket of its own. PostgreSQL refuses to run as root, so root becomes `postgres`."""

    def __init__(self, *, fsync: bool = False) -> None:
        self.programs = {name: _program(name) for name in ("initdb", "pg_ctl")}
        if None in self.programs.values():
            pytest.skip("PostgreSQL's server programs (initdb, pg_ctl) are not installed")
        self.as_user: list[str] = []
        # Not pytest's own folder: the server's user may not enter it, and socket paths must be short.
        self.home = Path(tempfile.mkdtemp(prefix="tenyson-pg-", dir="/tmp"))
        if os.geteuid() == 0:
            if shutil.which("runuser") is None:
                pytest.skip("running as root, and there is no runuser to start PostgreSQL as another user")
            self.as_user = ["runuser", "-u", "postgres", "--"]
            shutil.chown(self.home, "postgres")
        self.data = self.home / "data"
        self.options = f"-k {self.home} -c listen_addresses='' -c fsync={'on' if fsync else 'off'}"
        self.call("initdb", "-D", str(self.data), "-A", "trust", "-U", "tester", "-N", "-E", "UTF8")
        self.start()

    @property
    def url(self) -> str:
        return f"postgresql://tester@/postgres?host={self.home}"

    def call(self, program: str, *arguments: str) -> None:
        command = [*self.as_user, str(self.programs[program]), *arguments]
        with tempfile.TemporaryFile() as log:
            done = subprocess.run(command, cwd=self.home, stdout=log, stderr=log, timeout=120)
            log.seek(0)
            assert done.returncode == 0, log.read().decode()

    def start(self) -> None:
        log = str(self.home / "log")
        self.call("pg_ctl", "-D", str(self.data), "-l", log, "-o", self.options, "-w", "start")

    def stop(self) -> None:
        self.call("pg_ctl", "-D", str(self.data), "-m", "immediate", "-w", "stop")

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_programs() -> type[PostgresServer]:
    """For tests that need a server of their own."""
    pytest.importorskip("psycopg")
    return PostgresServer


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Path]:
    """The socket folder of a running server."""
    server = PostgresServer()
    yield server.home
    server.remove()


@pytest.fixture
def postgres_url(postgres_server: Path) -> str:
    """A fresh database on the server."""
    return _fresh_database(postgres_server)


@pytest.fixture
def second_postgres_url(postgres_server: Path) -> str:
    """Another one."""
    return _fresh_database(postgres_server)


def _fresh_database(server: Path) -> str:
    psycopg = pytest.importorskip("psycopg")
    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(host=str(server), user="tester", dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"postgresql://tester@/{name}?host={server}"


def _program(name: str) -> str | None:
    debian = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(debian[-1]) if debian else None)
