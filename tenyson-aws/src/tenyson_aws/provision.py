"""Provisioning: what a machine needs to run a job is sent there and installed, and the job is started.

Every stage may be done again: what is there already stays, and a job is started once for each attempt.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tenyson.cloud.remote.bundle import Parcel, make_parcel
from tenyson.cloud.remote.environment import variables_of
from tenyson.cloud.remote.input_files import baggage, import_roots
from tenyson.cloud.remote.mirror import Mirror
from tenyson.cloud.remote.outputs import parse, process_of, text_of
from tenyson.cloud.remote.ssh.connection import Connection
from tenyson.cloud.remote.ssh.transfer import HOME, TOOLS, send, send_texts
from tenyson.core.run_folder import RunFolder
from tenyson.errors import BackendError
from tenyson.jobs.spec import JobSpec
from tenyson.telemetry.events.provenance import GIT_VARIABLE, git_state
from tenyson_aws.api.naming import attempt_folder
from tenyson_aws.record import MachineRecord
from tenyson_aws.settings import AWSSettings

INSTALL_SECONDS = 3600.0
START_SECONDS = 600.0


def provision(
    connection: Connection,
    record: MachineRecord,
    settings: AWSSettings,
    mirror: Mirror,
    there: str,
    mark: Callable[[str], None],
) -> dict[str, Any]:
    """Returns the job's process there, whose folder is `there`. `mark` is told of each stage.

    Raises:
        BackendError: something cannot be installed, or the job cannot be started.
        UnreachableError: the connection broke; call again over another one.
    """
    spec = JobSpec(**record.spec)
    connection.run(["mkdir", "-p", HOME, there, record.cwd])
    parcel = make_parcel(spec, ["tenyson-aws"], settings.extras, python=settings.python)
    environment = f"{HOME}/envs/{parcel.key}"
    _send_parcel(connection, parcel)
    mark("shipped")
    image = [settings.image_packages] if settings.image_packages else []
    connection.run(
        ["sh", f"{TOOLS}/install.sh", environment, _place(parcel), settings.python, *image],
        seconds=INSTALL_SECONDS,
    )
    mark("installed")
    luggage = baggage(spec)
    send(connection, [(path, str(path)) for path in luggage])
    for path in luggage:
        if path.parent == RunFolder(mirror.folder.absolute()).checkpoints and path.is_dir():
            mirror.sent(path)
    mark("inputs sent")
    connection.run(["touch", "/run/tenyson/visited", "/run/tenyson/alive"])
    said = connection.run(
        [f"{environment}/bin/python", "-m", "tenyson_aws.machine.start"],
        send=json.dumps(_start_request(record, settings)).encode(),
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


def _place(parcel: Parcel) -> str:
    return f"{HOME}/parcels/{parcel.key}"


def _send_parcel(connection: Connection, parcel: Parcel) -> None:
    place = _place(parcel)
    requirements = "\n".join(
        line.replace("file://WHEELS/", f"file://{place}/") for line in parcel.requirements
    )
    send_texts(
        connection,
        {
            f"{place}/requirements.txt": requirements + "\n",
            f"{place}/constraints.txt": "\n".join(parcel.constraints) + "\n",
        },
    )
    send(connection, [(wheel, f"{place}/{wheel.name}") for wheel in parcel.wheels])


def _start_request(record: MachineRecord, settings: AWSSettings) -> dict[str, Any]:
    lease = settings.lease_hours
    return {
        "spec": record.spec,
        "record": asdict(record),
        "cwd": record.cwd,
        "secrets": variables_of(
            record.spec["config"], settings.forward_env, direct_database=settings.direct_database
        ),
        "environment": {GIT_VARIABLE: json.dumps(git_state(Path(record.cwd), [record.spec["task"]]))},
        "relay": not settings.direct_database,
        "runner": settings.runner,
        "guard": {
            "region": record.region,
            "bucket": settings.bucket,
            "attempt": attempt_folder(record.token),
            "lease_seconds": lease * 3600 if lease else None,
        },
    }
