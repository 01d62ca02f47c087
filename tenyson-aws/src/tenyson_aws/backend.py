"""The AWS backend: a job is a process on an EC2 instance of its own, rented for it and given back after it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tenyson.cloud.archive import EARLIER, archive_attempt
from tenyson.cloud.backend import Estimate, Handle, Observation
from tenyson.cloud.cost import cost_in_words
from tenyson.cloud.log import chunks
from tenyson.cloud.settings import check_settings
from tenyson.cloud.watch import output_folder
from tenyson.errors import BackendError
from tenyson.jobs.spec import JobSpec
from tenyson_aws import price
from tenyson_aws.baggage import baggage
from tenyson_aws.clients import Clients
from tenyson_aws.failures import AWSError, aws_errors, explained
from tenyson_aws.instance import Instance
from tenyson_aws.launch import Launcher, find_instances
from tenyson_aws.machine.start import ATTEMPT
from tenyson_aws.naming import RUN, tag_of
from tenyson_aws.parcel import make_parcel
from tenyson_aws.placement import instance_types
from tenyson_aws.record import Record
from tenyson_aws.session import Session, connect
from tenyson_aws.settings import AWSSettings
from tenyson_aws.ssh import CommandError

LOCK = ".machine.lock"


class AWSBackend:
    """Follows `tenyson.cloud.backend.Backend`.

    Args:
        settings: fields of `AWSSettings`, and `output_dir`, where `reattach` and `list` look for jobs.

    Raises:
        ConfigError: a setting is unknown or wrong.
    """

    name = "aws"
    rented = True

    def __init__(self, **settings: Any) -> None:
        self.output_dir = Path(settings.pop("output_dir", "./outputs"))
        self._given = dict(settings)
        self._settings: AWSSettings = check_settings(AWSSettings, settings)
        self.clients = Clients(self._settings.region)
        self._sessions: dict[str, Session] = {}
        self._locks: dict[str, int] = {}
        self._checked = False
        self._prices: dict[str, price.Price | None] = {}
        self.say: Callable[[str], None] = _print
        """Where a line for whoever watches goes."""

    @property
    def settings(self) -> dict[str, Any]:
        """What makes this backend again, for a controller that comes later."""
        return {"output_dir": str(self.output_dir), **self._given}

    def validate(self, spec: JobSpec) -> None:
        """Credentials, types, the job's files and wheels, and the budget; nothing is spent.

        Raises: BackendError: a job could not be launched.
        """
        baggage(spec)
        make_parcel(spec, self._settings.extras, python=self._settings.python)
        instance_types(self._settings)
        if self._settings.key_path and not Path(self._settings.key_path).expanduser().is_file():
            raise AWSError("there is no such private key", "configuration", place=self._settings.key_path)
        if not self._checked:
            try:
                self.clients.make("sts").get_caller_identity()
            except aws_errors() as error:
                raise explained(error, "AWS does not know you") from error
            self._checked = True
        budget = self._settings.budget_usd
        if budget is not None:
            estimate = self.estimate(spec)
            if estimate.worst_case is None or estimate.worst_case > budget:
                raise AWSError(
                    f"this could cost more than backend.settings.budget_usd ({budget:g}): {cost_in_words(estimate)} ({estimate.note})",
                    "configuration",
                    next_step="Lower max_hours or choose a smaller instance_type; or raise the budget.",
                )

    def estimate(self, spec: JobSpec) -> Estimate:  # noqa: ARG002  the protocol's signature
        """Of the dearest of the types that may be taken, until the machine ends itself.

        Raises: AWSError: nobody knows the price of a type.
        """
        settings = self._settings
        types = instance_types(settings)
        for name in types:
            if name not in self._prices:
                self._prices[name] = price.on_demand(self.clients, name)
        prices = {name: self._prices[name] for name in types}
        unknown = [name for name, one in prices.items() if one is None]
        disk = price.disk(settings.disk_gb)
        if unknown:
            return Estimate(
                disk, None, f"without the machine: nobody here knows the price of {', '.join(unknown)}"
            )
        dearest = max(types, key=lambda name: prices[name].per_hour)  # type: ignore[union-attr]
        bound = prices[dearest]
        assert bound is not None
        now, what = bound, f"{dearest} on demand"
        if settings.use_spot:
            # Without a maximum, AWS charges at most the price on demand.
            now, what = price.spot(self.clients, dearest) or bound, f"{dearest}, spot"
        worst = (bound.per_hour + disk) * settings.max_hours
        note = f"{what}: {now.source}; with its disk; it ends itself after {settings.max_hours:g} h at the latest"
        return Estimate(round(now.per_hour + disk, 4), round(worst, 2), note)

    def submit(self, spec: JobSpec) -> Handle:
        """Rent a machine for the job, or find the one that was rented for this token. The rest goes on in a thread.

        Raises:
            AWSError: there is none to be had, or none may be had; all refusals are in its message.
            BackendError: the folder cannot be used, another process looks after the run, or a later attempt took over.
        """
        folder = output_folder(spec)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock(folder)
            record = self._record_for(spec, folder)
        except OSError as error:
            raise BackendError(
                f"the job's folder cannot be used: {error.strerror}", place=str(folder)
            ) from error
        launcher = Launcher(self.clients, self._settings, self._say)
        launcher.launch(record, folder)
        handle = self._handle(record, folder)
        self._say(
            f"{spec.run_id}: {record.instance_id} ({record.instance_type}, {record.market}, {record.zone or record.region}); it ends "
            f"itself at {time.strftime('%Y-%m-%d %H:%M', time.localtime((record.launched_at or 0) + self._settings.max_hours * 3600))}"
        )
        self._session(handle)
        return handle

    def poll(self, handle: Handle) -> Observation:
        """What the thread that looks after it knows; it never waits."""
        return self._session(handle).observation

    def stream_logs(self, handle: Handle, cursor: int = 0) -> Iterator[tuple[int, bytes]]:
        """This attempt's log, as far as it is here, from byte `cursor` on."""
        session = self._session(handle)
        return chunks(session.folder / "log.txt", session.record.log_start, cursor)

    def fetch_outputs(self, handle: Handle, to: Path) -> None:
        """Nothing to do where `to` is the run's folder: what is there is brought there all the time, and verified at the end."""
        folder = Path(handle.data["folder"])
        if to.resolve() != folder.resolve():
            import shutil

            shutil.copytree(folder, to, dirs_exist_ok=True)

    def release(self, handle: Handle) -> None:
        """Terminate the machine and see that it is; one with outputs that could not be fetched is left to its idle limit.

        Raises: AWSError: AWS does not confirm it.
        """
        session = self._session(handle)
        record = session.record
        unfetched = record.job is not None and not record.fetched and record.lost is None
        if record.released or unfetched:
            return
        session.instance.terminate(self._say)
        record.released = True
        record.times["released"] = time.time()
        record.save(session.folder)
        self._say(f"{record.instance_id} is terminated")

    def cancel(self, handle: Handle, grace_seconds: float) -> None:
        """Ask the job to save and end, as soon as its machine is reached. The machine ends it after the grace."""
        self._session(handle).cancel(grace_seconds)

    def terminate(self, handle: Handle) -> None:
        """Give the machine back now, whatever is on it. Raises: AWSError: AWS does not confirm it."""
        session = self._session(handle)
        session.terminate()
        session.record.released = True
        session.record.save(session.folder)

    def reattach(self, run_id: str) -> Handle | None:
        """The latest attempt of a run: by its folder, else by the tags of a machine that lives."""
        folder = self.output_dir / run_id
        record = Record.load(folder)
        if record is not None and record.instance_id is not None:
            return self._handle(record, folder)
        found = next(iter(find_instances(self.clients, {RUN: run_id})), None)
        if found is None:
            return None
        record = self._recall(found, folder)
        return self._handle_of(found) if record is None else self._handle(record, folder)

    def list(self) -> list[Handle]:
        """All machines of ours that live in the region, by their tags alone."""
        return [self._handle_of(one) for one in find_instances(self.clients, {})]

    def close(self) -> None:
        """Look after nothing more; jobs go on. Another process may attach then."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        for lock in self._locks.values():
            os.close(lock)
        self._locks.clear()

    def _record_for(self, spec: JobSpec, folder: Path) -> Record:
        """The record of this attempt, written before anything is asked of AWS."""
        before = Record.load(folder)
        if before is not None and _goes_on(before, spec):
            return before
        if spec.token and any(
            (earlier := Record.load(path)) is not None and earlier.token == spec.token
            for path in folder.glob(f"{EARLIER}/*")
        ):
            raise BackendError(
                "this attempt was launched before, and a later one has taken its place", place=str(folder)
            )
        avoid: list[list[str]] = []
        if before is not None:
            self._let_go(before, folder)
            avoid = list(before.avoid)
            if before.lost is not None and before.instance_type and before.zone:
                avoid.append([before.instance_type, before.zone])
        resumed = bool((spec.config.get("training") or {}).get("resume_from_checkpoint"))
        archive_attempt(folder, resumed=resumed)
        log = folder / "log.txt"
        record = Record(
            backend=self.name,
            token=spec.token or uuid.uuid4().hex,
            spec=asdict(replace(spec, config=dict(spec.config))),
            settings=self.settings,
            cwd=str(Path.cwd()),
            created_at=time.time(),
            log_start=log.stat().st_size if log.exists() else 0,
            bases={path.name: path.stat().st_size for path in folder.glob("*.jsonl")},
            avoid=avoid,
        )
        record.spec["token"] = record.token
        record.save(folder)
        return record

    def _let_go(self, before: Record, folder: Path) -> None:
        """No machine of an earlier attempt stays behind when a new one begins."""
        if before.instance_id is not None and not before.released:
            Instance(self.clients, before.instance_id, before.launched_at or 0).terminate(self._say)
            before.released = True
            before.save(folder)
        elif before.instance_id is None and before.request is not None:
            found = Launcher(self.clients, self._settings, self._say).find(before.token)
            if found is not None:
                Instance(self.clients, found["InstanceId"], time.time()).terminate(self._say)

    def _session(self, handle: Handle) -> Session:
        key = str(handle.data["instance_id"])
        if key not in self._sessions:
            folder = Path(handle.data["folder"])
            record = Record.load(folder)
            if record is None or record.instance_id != key:
                raise BackendError(
                    f"the record of {key} is not in the run's folder", place=str(folder),
                    next_step=f"Its machine can be given back: tenyson aws cleanup --run {handle.run_id}",
                )  # fmt: skip
            self._lock(folder)
            self._sessions[key] = session = Session(record, folder, self._settings, self.clients, self._say)
            session.begin()
        return self._sessions[key]

    def _handle(self, record: Record, folder: Path) -> Handle:
        data = {
            "instance_id": record.instance_id,
            "region": record.region,
            "token": record.token,
            "folder": str(folder.resolve()),
        }
        return Handle(self.name, str(record.spec["run_id"]), data)

    def _handle_of(self, instance: dict[str, Any]) -> Handle:
        run_id = tag_of(instance, RUN) or "?"
        data = {
            "instance_id": instance["InstanceId"],
            "region": self.clients.region,
            "folder": str((self.output_dir / run_id).resolve()),
        }
        return Handle(self.name, run_id, data)

    def _recall(self, found: dict[str, Any], folder: Path) -> Record | None:
        """The record of an attempt that another machine began, from its instance; None where the job has not begun there."""
        instance = Instance(
            self.clients,
            found["InstanceId"],
            found["LaunchTime"].timestamp(),
            private=self._settings.private_address,
        )
        address, host_keys = instance.look().address, instance.host_keys()
        if address is None or not host_keys:
            return None
        connection = connect(self._settings, instance.id, address, host_keys)
        try:
            data = json.loads(connection.run(["cat", str(ATTEMPT)]))
        except CommandError:
            return None
        finally:
            connection.close()
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / "log.txt"
        begin = log.stat().st_size if log.exists() else 0
        bases = {path.name: path.stat().st_size for path in folder.glob("*.jsonl")}
        record = Record(**{**data, "log_start": begin, "bases": bases, "settings": self.settings})
        record.save(folder)
        return record

    def _lock(self, folder: Path) -> None:
        """One process at a time looks after a run. Raises: BackendError: another one does."""
        key = str(folder.resolve())
        if key in self._locks:
            return
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise BackendError(
                "another process looks after this run",
                place=key,
                next_step="End that one first; its job goes on.",
            ) from error
        self._locks[key] = descriptor

    def _say(self, text: str) -> None:
        self.say(f"aws: {text}")


def _asked(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without where it goes on: a later attempt of one run asks for the same."""
    training = dict(config.get("training") or {})
    training.pop("resume_from_checkpoint", None)
    return {**config, "training": training}


def _print(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201


def _goes_on(before: Record, spec: JobSpec) -> bool:
    """Whether the attempt of the record is the one that is asked for: the same token, or one without that is not over."""
    if spec.token:
        return before.token == spec.token
    over = before.fetched or before.lost is not None or before.released
    same = _asked(before.spec.get("config") or {}) == _asked(spec.config)
    return (
        same
        and before.spec.get("job_type") == spec.job_type
        and not over
        and (before.instance_id is not None or before.request is not None)
    )
