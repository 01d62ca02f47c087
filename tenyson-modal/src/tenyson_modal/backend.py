"""The Modal backend: a job is one call of a function in an app of its own, whose files live in a volume."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

from tenyson.cloud.backend import Estimate, Handle
from tenyson.cloud.remote.backend import RemoteBackend, starts
from tenyson.cloud.remote.bundle import make_bundle
from tenyson.cloud.remote.input_files import find_input_files
from tenyson.cloud.remote.outputs import OddAnswerError, parse
from tenyson.cloud.remote.recall import recalled
from tenyson.jobs.spec import JobSpec
from tenyson.plugins.settings import build_settings
from tenyson_modal import price
from tenyson_modal.api.failures import ModalError, explained, modal_errors
from tenyson_modal.api.naming import ATTEMPT, app_name, attempt_key, tag_value
from tenyson_modal.app.apps import App, find_apps, stop
from tenyson_modal.app.launch import RECORD, Launcher, control
from tenyson_modal.container import lock
from tenyson_modal.exchange import requests
from tenyson_modal.exchange.store import Store, attempts_in
from tenyson_modal.record import CallRecord
from tenyson_modal.session import CallSession
from tenyson_modal.settings import ModalSettings


class ModalBackend(RemoteBackend[CallRecord]):
    """Follows `tenyson.cloud.backend.Backend`.

    Args:
        settings: fields of `ModalSettings`, and `output_dir`, where `reattach` looks for jobs.

    Raises:
        ConfigError: a setting is unknown or wrong.
    """

    name = "modal"
    record_class = CallRecord

    def __init__(self, **settings: Any) -> None:
        output_dir = settings.pop("output_dir", "./outputs")
        super().__init__(settings, output_dir)
        self._settings: ModalSettings = build_settings(ModalSettings, settings)
        self._checked = False

    def validate(self, spec: JobSpec) -> None:
        """Token, secrets, the job's files and wheels, and the budget; nothing is spent.

        Raises: BackendError: a job could not be launched.
        """
        find_input_files(spec)
        make_bundle(spec, ["tenyson-modal"], self._settings.extras, python=self._settings.python)
        if self._settings.budget_usd is not None:
            self._refuse_beyond(
                self._settings.budget_usd, self.estimate(spec), "Lower max_hours or choose another gpu"
            )
        if not self._checked:
            hello(self._settings)
            self._checked = True

    def estimate(self, spec: JobSpec) -> Estimate:  # noqa: ARG002  the protocol's signature
        """Of the dearest GPU that may be taken, in as many containers as `max_hours` allows."""
        return price.estimate(self._settings)

    def release(self, handle: Handle) -> None:
        """Stop the app and see that it is stopped; one whose outputs could not be fetched is left to its job's end.

        What the job made stays in the volume. Raises: ModalError.
        """
        session = self._session(handle)
        record = session.record
        if record.unfetched:
            self._say(
                f"the app {record.app_id} is not stopped: what its job made is not here yet (tenyson attach {handle.run_id})"
            )
        elif not record.released:
            self._give_back(record, session.folder)
            self._say(f"the app {record.app_id} is stopped")

    def list(self) -> list[Handle]:
        """All apps of ours that may run, by their names and tags alone."""
        return [self._handle_of(app) for app in find_apps(self._settings.environment_name)]

    def _launch(self, record: CallRecord, folder: Path) -> None:
        Launcher(self._settings, self._say).launch(record, folder)
        ends = time.localtime((record.launched_at or record.created_at) + self._settings.max_hours * 3600)
        what = " or ".join(self._settings.gpus) or "no GPU"
        self._say(
            f"{record.spec['run_id']}: {record.call_id} in the app {record.app_id} ({what}); it ends itself after "
            f"{self._settings.max_hours:g} h of work, as of now at {time.strftime('%Y-%m-%d %H:%M', ends)}"
        )

    def _new_session(self, record: CallRecord, folder: Path) -> CallSession:
        return CallSession(record, folder, self._settings, self._say)

    def _costs_since(self, record: CallRecord) -> float | None:
        """The queue costs nothing; how long the job was in it is not known here."""
        return record.launched_at if record.job is not None else None

    def _give_back(self, record: CallRecord, folder: Path) -> None:
        # By name as well: a launch that was begun twice may have made two.
        named = [app.id for app in find_apps(record.environment, name=record.app_name)]
        for app_id in dict.fromkeys([*filter(None, [record.app_id]), *named]):
            stop(app_id, self._say)
        key = attempt_key(record.token)
        try:
            entries = control(self._settings)
            lock.forget(entries, key)
            requests.forget(entries, key)
            Store(record.volume, record.environment, str(record.spec["run_id"]), key).drop_inputs()
        except modal_errors(ModalError) as error:
            self._say(f"left behind, free of charge: {error}")
        record.released = True
        record.times["released"] = time.time()
        record.save(folder)

    def _find(self, run_id: str, folder: Path) -> Handle | None:
        record = self._recall(run_id, folder)
        if record is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        record.save(folder)
        return self._handle(record, folder)

    def _place(self, record: CallRecord) -> dict[str, Any]:
        return {"app_id": record.app_id}

    def _handle_of(self, app: App) -> Handle:
        data = {
            "instance_id": None,
            "app_id": app.id,
            "folder": str((self.output_dir / app.run_id).resolve()),
        }
        return Handle(self.name, app.run_id, data)

    def _recall(self, run_id: str, folder: Path) -> CallRecord | None:
        """The record of the latest attempt, from what its launch left in the volume, where containers write too: what decides a path,
        a command or a price here comes from Modal and from these settings.
        """
        environment, volume = self._settings.environment_name, self._settings.volume
        apps = {
            app.tags[ATTEMPT]: app
            for app in find_apps(environment)
            if app.run_id == tag_value(run_id) and ATTEMPT in app.tags
        }
        found = []
        for key in apps or attempts_in(volume, environment, run_id):
            text = Store(volume, environment, run_id, key).read(RECORD)
            try:
                data = parse((text or "null").encode("utf-8", "replace"))
            except OddAnswerError as error:
                self._say(f"{run_id}: the volume's record of an attempt is passed over: {error.cause}")
                continue
            told = recalled(data, run_id, self.output_dir)
            if told is None or attempt_key(told["token"]) != key:
                continue
            app = apps.get(key)
            created = app.created_at if app is not None else data.get("created_at")
            call = data.get("call_id")
            if not (_is_id("fc-", call) and _is_time(created)):
                continue
            found.append(
                CallRecord(
                    backend=self.name,
                    settings=self.settings,
                    created_at=float(created),
                    launched_at=float(created),
                    app_name=app_name(run_id, told["token"]),
                    app_id=None
                    if app is None
                    else app.id,  # any other name could be that of another run's app
                    call_id=call,
                    volume=volume,
                    environment=environment,
                    **told,
                    **starts(folder),
                )
            )
        return max(found, key=lambda record: record.created_at, default=None)


def _is_id(prefix: str, value: Any) -> bool:
    return isinstance(value, str) and re.fullmatch(prefix + "[A-Za-z0-9]{1,64}", value) is not None


def _is_time(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 1e11


def hello(settings: ModalSettings) -> None:
    """Raises: ModalError: Modal does not know us, does not answer, or lacks a secret that is named."""
    import modal

    try:
        client = modal.Client.from_env()
        client.hello()
        for name in settings.secrets:
            modal.Secret.from_name(name, environment_name=settings.environment_name).hydrate()
    except modal_errors() as error:
        raise explained(error, "Modal refuses") from error
