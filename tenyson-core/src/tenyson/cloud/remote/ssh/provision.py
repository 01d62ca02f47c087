"""Provisioning: what a machine needs to run a job is sent there and installed, and the job is started.

Every stage may be repeated: existing files stay, and a job is started once for each attempt.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tenyson.cloud.remote.bundle import Bundle, make_bundle
from tenyson.cloud.remote.input_files import find_input_files, import_roots, variables_of
from tenyson.cloud.remote.mirror import Mirror
from tenyson.cloud.remote.outputs import parse, process_of, text_of
from tenyson.cloud.remote.ssh.connection import Connection
from tenyson.cloud.remote.ssh.record import SSHRecord
from tenyson.cloud.remote.ssh.settings import SSHSettings
from tenyson.cloud.remote.ssh.transfer import HOME, TOOLS, send, send_texts
from tenyson.core.run_folder import RunFolder
from tenyson.errors import BackendError
from tenyson.jobs.spec import JobSpec
from tenyson.telemetry.events.provenance import launch_environment

INSTALL_SECONDS = 3600.0
START_SECONDS = 600.0


@dataclass(frozen=True)
class MachineCode:
    """What a backend has installed and started on its machines."""

    distributions: tuple[str, ...] = ()
    """Beside tenyson-core and what the job needs."""
    start: str = "tenyson.cloud.remote.ssh.machine.start"
    """The module that starts the job and its guard."""


def provision(
    connection: Connection,
    record: SSHRecord,
    settings: SSHSettings,
    code: MachineCode,
    guard: Mapping[str, Any],
    mirror: Mirror,
    there: str,
    mark: Callable[[str], None],
) -> dict[str, Any]:
    """Returns the job's process there, whose folder is `there`. `mark` is told of each stage, the guard what is in `guard`.

    Raises:
        BackendError: something cannot be installed, or the job cannot be started.
        UnreachableError: the connection broke; call again over another one.
    """
    spec = JobSpec(**record.spec)
    connection.run(["mkdir", "-p", HOME, there, record.cwd])
    bundle = make_bundle(spec, code.distributions, settings.extras, python=settings.python)
    environment = f"{HOME}/envs/{bundle.key}"
    _send_bundle(connection, bundle)
    mark("shipped")
    image = [settings.image_packages] if settings.image_packages else []
    connection.run(
        ["sh", f"{TOOLS}/install.sh", environment, _place(bundle), settings.python, *image],
        seconds=INSTALL_SECONDS,
    )
    mark("installed")
    inputs = find_input_files(spec)
    send(connection, [(path, str(path)) for path in inputs])
    for path in inputs:
        if path.parent == RunFolder(mirror.folder.absolute()).checkpoints and path.is_dir():
            mirror.sent(path)
    mark("inputs sent")
    connection.run(["touch", "/run/tenyson/visited", "/run/tenyson/alive"])
    said = connection.run(
        [f"{environment}/bin/python", "-m", code.start],
        send=json.dumps(_start_request(record, settings, guard)).encode(),
        environment=[f"PYTHONPATH={':'.join(import_roots(spec))}"],
        seconds=START_SECONDS,
    )
    answer = parse((said.splitlines() or [b""])[-1])
    if not isinstance(answer, dict) or "job" not in answer:
        error = text_of(answer.get("error")) if isinstance(answer, dict) else None
        raise BackendError(f"the job could not be started: {error or 'the machine did not say how it went'}")
    job = process_of(answer["job"])
    if "supervisor" not in job:
        raise BackendError("the job could not be started: the machine names no process")
    return job


def _place(bundle: Bundle) -> str:
    return f"{HOME}/parcels/{bundle.key}"


def _send_bundle(connection: Connection, bundle: Bundle) -> None:
    place = _place(bundle)
    requirements = "\n".join(
        line.replace("file://WHEELS/", f"file://{place}/") for line in bundle.requirements
    )
    send_texts(
        connection,
        {
            f"{place}/requirements.txt": requirements + "\n",
            f"{place}/constraints.txt": "\n".join(bundle.constraints) + "\n",
        },
    )
    send(connection, [(wheel, f"{place}/{wheel.name}") for wheel in bundle.wheels])


def _start_request(record: SSHRecord, settings: SSHSettings, guard: Mapping[str, Any]) -> dict[str, Any]:
    lease = settings.lease_hours
    return {
        "spec": record.spec,
        "record": asdict(record),
        "cwd": record.cwd,
        "secrets": variables_of(
            record.spec["config"], settings.forward_env, direct_database=settings.direct_database
        ),
        "environment": launch_environment(Path(record.cwd), record.spec["task"]),
        "relay": not settings.direct_database,
        "runner": settings.runner,
        "guard": {**guard, "lease_seconds": lease * 3600 if lease else None},
    }
