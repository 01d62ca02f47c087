"""Launching an attempt: one app, one function in it, one call. Begun again at any moment, it leads to the same call."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tenyson.cloud.remote.bundle import make_bundle
from tenyson.cloud.remote.input_files import find_input_files, import_roots, variables_of
from tenyson.core.user import user_at_host
from tenyson.jobs.spec import JobSpec
from tenyson.telemetry.events.provenance import launch_environment
from tenyson_modal.api.failures import explained, modal_errors
from tenyson_modal.api.naming import (
    ATTEMPT,
    MOUNT,
    OWNER,
    RUN,
    app_name,
    attempt_key,
    control_name,
    tag_value,
)
from tenyson_modal.app.apps import find_apps, stop
from tenyson_modal.app.image import make_image
from tenyson_modal.container.entrypoint import Request, run
from tenyson_modal.container.lock import forget, holder_of
from tenyson_modal.exchange.store import Store
from tenyson_modal.record import CallRecord
from tenyson_modal.settings import ModalSettings

RECORD = "record.json"
"""In the attempt's folder of the volume: for whoever attaches from another machine."""
STARTUP_SECONDS = 1800
"""For the container to come up; an image of many GB takes a while."""


class Launcher:
    """Launches, or finds what was launched."""

    def __init__(self, settings: ModalSettings, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._say = say

    def launch(self, record: CallRecord, folder: Path) -> None:
        """Fills in app and call. Raises: ModalError; BackendError: a file or wheel is missing."""
        if record.call_id is not None:
            return
        entries = control(self._settings)
        try:
            # Made here: the container only finds it.
            entries.hydrate()
        except modal_errors() as error:
            raise explained(error, "Modal makes no Dict") from error
        if record.app_name:
            found = self._call_of_before(record, entries)
            if found is not None:
                record.call_id = found
                record.save(folder)
                return
        record.app_name = app_name(str(record.spec["run_id"]), record.token)
        record.volume = self._settings.volume
        record.environment = self._settings.environment_name
        # Written before the app is made: after a crash it is found by its name.
        record.save(folder)
        self._spawn(record, folder)

    def _call_of_before(self, record: CallRecord, entries: Any) -> str | None:
        """The call that an interrupted launch made, as far as it works already; else nothing of that launch is left."""
        key = attempt_key(record.token)
        try:
            found = holder_of(entries, key)
            apps = find_apps(self._settings.environment_name, name=record.app_name)
            if found is not None and apps:
                record.app_id = apps[0].id
                record.launched_at = apps[0].created_at
                return found
            for app in apps:
                stop(app.id, self._say)
            # The holder of the lock was of an app that is over; another call continues with what it has kept.
            forget(entries, key)
        except modal_errors() as error:
            raise explained(error, "it cannot be seen what an earlier launch left") from error
        return None

    def _spawn(self, record: CallRecord, folder: Path) -> None:
        import modal

        spec = JobSpec(**record.spec)
        settings = self._settings
        store = Store(settings.volume, settings.environment_name, spec.run_id, attempt_key(record.token))
        inputs = find_input_files(spec)
        bundle = make_bundle(spec, ["tenyson-modal"], settings.extras, python=settings.python)
        if inputs:
            store.send(inputs)
        _mark(record, folder, "inputs sent")
        app = modal.App(record.app_name, tags=_tags(record, spec), include_source=False)
        try:
            volume = modal.Volume.from_name(
                settings.volume,
                environment_name=settings.environment_name,
                create_if_missing=True,
                version=2,
            )
            function = app.function(
                image=make_image(bundle, settings),
                gpu=settings.gpus or None,
                cpu=settings.cpu,
                memory=settings.memory,
                ephemeral_disk=settings.ephemeral_disk,
                region=settings.region,
                timeout=settings.timeout,
                startup_timeout=STARTUP_SECONDS,
                retries=modal.Retries(
                    max_retries=settings.retries,
                    initial_delay=1.0,
                    backoff_coefficient=1.0,
                ),
                secrets=self._secrets(spec),
                volumes={MOUNT: volume},
                single_use_containers=True,
            )(run)
            with app.run(detach=True, environment_name=settings.environment_name):
                record.app_id = app.app_id
                _mark(record, folder, "image made")
                record.launched_at = time.time()
                request = self._request(record, spec, [str(path) for path in inputs])
                record.call_id = function.spawn(json.dumps(asdict(request))).object_id
                _mark(record, folder, "spawned")
        except modal_errors() as error:
            if record.call_id is None:
                raise explained(error, "Modal launches no container") from error
            # The call works, and costs: supervise it whatever else has failed.
            self._say(f"{record.call_id} was called, and then: {explained(error, 'the launch failed').cause}")

    def _secrets(self, spec: JobSpec) -> list[Any]:
        import modal

        settings = self._settings
        named = [
            modal.Secret.from_name(name, environment_name=settings.environment_name)
            for name in settings.secrets
        ]
        variables: dict[str, str | None] = dict(
            variables_of(spec.config, settings.forward_env, direct_database=settings.direct_database)
        )
        return [*named, modal.Secret.from_dict(variables)] if variables else named

    def _request(self, record: CallRecord, spec: JobSpec, inputs: list[str]) -> Request:
        settings = self._settings
        return Request(
            spec=record.spec,
            cwd=record.cwd,
            volume=settings.volume,
            environment=settings.environment_name,
            inputs=inputs,
            import_roots=import_roots(spec),
            variables=launch_environment(Path(record.cwd), record.spec["task"]),
            relay=not settings.direct_database,
            runner=settings.runner,
            max_seconds=settings.max_hours * 3600,
            timeout=float(settings.timeout),
            preemptions=settings.preemptions,
            restarts=settings.restarts,
        )


def control(settings: ModalSettings) -> Any:
    """The Dict of locks and requests that goes with the volume."""
    import modal

    return modal.Dict.from_name(
        control_name(settings.volume), environment_name=settings.environment_name, create_if_missing=True
    )


def _tags(record: CallRecord, spec: JobSpec) -> dict[str, str]:
    return {
        RUN: tag_value(spec.run_id),
        ATTEMPT: attempt_key(record.token),
        OWNER: tag_value(user_at_host()),
    }


def _mark(record: CallRecord, folder: Path, stage: str) -> None:
    record.times[stage] = time.time()
    record.save(folder)
