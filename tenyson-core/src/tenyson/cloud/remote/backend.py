"""RemoteBackend: the part of the protocol that is the same wherever a machine is rented for a job."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from tenyson.cloud.backend import BaseBackend, Estimate, Handle, Observation, Reason, cost_in_words
from tenyson.cloud.local.archive import EARLIER, archive_attempt
from tenyson.cloud.remote.record import Record
from tenyson.cloud.remote.session import Session
from tenyson.cloud.watch.log import chunks
from tenyson.core.run_folder import RunFolder
from tenyson.errors import BackendError
from tenyson.jobs.spec import JobSpec, resume_reference

LOCK = ".machine.lock"
R = TypeVar("R", bound=Record)


class BudgetError(BackendError):
    """It could cost more than it may."""

    reason: Reason = "user_error"


class Limits(Protocol):
    """The settings that bound what a run costs."""

    @property
    def budget_usd(self) -> float | None:
        """US dollars for all attempts of a run."""

    @property
    def max_hours(self) -> float:
        """Of one attempt."""


class RemoteBackend(BaseBackend, ABC, Generic[R]):
    """Follows `tenyson.cloud.backend.Backend`; a backend adds how a machine is launched, found and supervised.

    Args:
        given: its settings as they were given, for a controller that comes later.
        output_dir: where `reattach` and `list` look for jobs.
    """

    name: str
    """What users type after `--backend`."""
    rented = True
    record_class: type[R]
    """What is written down of an attempt."""
    _settings: Limits
    """Its settings once they are checked."""

    def __init__(self, given: Mapping[str, Any], output_dir: str | Path) -> None:
        self.output_dir = Path(output_dir)
        self._given = dict(given)
        self._sessions: dict[str, Session[R]] = {}
        self._locks: dict[str, int] = {}

    @property
    def budget_usd(self) -> float | None:  # type: ignore[override]
        """US dollars that all attempts of a run may cost; None where nothing bounds them."""
        return self._settings.budget_usd

    @property
    def settings(self) -> dict[str, Any]:  # type: ignore[override]
        """What makes this backend again, for a controller that comes later."""
        return {"output_dir": str(self.output_dir), **self._given}

    def submit(self, spec: JobSpec) -> Handle:
        """Rent a machine for the job, or find the one that was rented for this token. The rest happens in a thread.

        Raises:
            BackendError: there is none to be had, the folder cannot be used, another process follows the run, or a later
                attempt took over.
        """
        folder = spec.folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock(folder)
            record = self._record_for(spec, folder)
        except OSError as error:
            raise BackendError(
                f"the job's folder cannot be used: {error.strerror}", place=str(folder)
            ) from error
        self._launch(record, folder)
        handle = self._handle(record, folder)
        self._session(handle)
        return handle

    def poll(self, handle: Handle) -> Observation:
        """What the thread that follows it knows; it never waits."""
        return self._session(handle).observation

    def stream_logs(self, handle: Handle, cursor: int = 0) -> Iterator[tuple[int, bytes]]:
        """This attempt's log, as far as it is here, from byte `cursor` on."""
        session = self._session(handle)
        return chunks(RunFolder(session.folder).log, session.record.log_start, cursor)

    def fetch_outputs(self, handle: Handle, to: Path) -> None:
        """Nothing to do where `to` is the run's folder: what is there is brought there all the time, and verified at the end."""
        folder = Path(handle.data["folder"])
        if to.resolve() != folder.resolve():
            shutil.copytree(folder, to, dirs_exist_ok=True)

    def cancel(self, handle: Handle, grace_seconds: float) -> None:
        """Ask the job to save and end, as soon as its machine is reached. The machine ends it after the grace."""
        self._session(handle).cancel(grace_seconds)

    def terminate(self, handle: Handle) -> None:
        """Give the machine back now, whatever is on it. Raises: BackendError: the provider does not confirm it."""
        session = self._session(handle)
        session.terminate()
        session.record.released = True
        session.record.times.setdefault("released", time.time())
        session.record.save(session.folder)

    def reattach(self, run_id: str) -> Handle | None:
        """The latest attempt of a run: by its folder, else by what the provider has of it."""
        folder = self.output_dir / run_id
        record = self.record_class.load(folder)
        if record is not None and record.backend == self.name and record.machine is not None:
            return self._handle(record, folder)
        return self._find(run_id, folder)

    def close(self) -> None:
        """Stop supervising; jobs keep running, and another process may attach."""
        for session in self._sessions.values():
            session.close()
        self._sessions.clear()
        for lock in self._locks.values():
            os.close(lock)
        self._locks.clear()

    # What a backend adds

    @abstractmethod
    def validate(self, spec: JobSpec) -> None:
        """Find what would fail, without spending. Raises: BackendError."""

    @abstractmethod
    def estimate(self, spec: JobSpec) -> Estimate:
        """Price and worst case."""

    @abstractmethod
    def release(self, handle: Handle) -> None:
        """Give back what was rented, and see that it is gone. Raises: BackendError."""

    @abstractmethod
    def list(self) -> list[Handle]:
        """All that may cost."""

    @abstractmethod
    def _launch(self, record: R, folder: Path) -> None:
        """Rent what the record asks for, or find it; say what it is. Raises: BackendError."""

    @abstractmethod
    def _find(self, run_id: str, folder: Path) -> Handle | None:
        """The latest attempt of a run whose record is not here, which is written down then; None where there is none."""

    def _place(self, record: R) -> dict[str, Any]:  # noqa: ARG002  most need no more than its name
        """Where the machine of an attempt is, as further parts of its handle."""
        return {}

    @abstractmethod
    def _new_session(self, record: R, folder: Path) -> Session[R]:
        """The session that supervises the attempt."""

    @abstractmethod
    def _give_back(self, record: R, folder: Path) -> None:
        """No machine of an earlier attempt stays behind when a new one begins. Raises: BackendError."""

    def _prepare(self, record: R, before: R | None) -> None:
        """Last changes to a new attempt's record, given the one before it."""

    def _refuse_beyond(self, budget: float | None, estimate: Estimate, advice: str) -> None:
        """Raises: BudgetError: it could cost more than that."""
        if budget is not None and (estimate.worst_case is None or estimate.worst_case > budget):
            raise BudgetError(
                f"this could cost more than backend.settings.budget_usd ({budget:g}): {cost_in_words(estimate)} ({estimate.note})",
                next_step=f"{advice}; or raise the budget.",
            )

    def _refuse_another(self, spec: JobSpec, folder: Path) -> None:
        """Raises: BudgetError: with what earlier attempts cost, one more could cost more than all of them may."""
        budget = self.budget_usd
        paths = [folder, *folder.glob(f"{EARLIER}/*")]
        earlier = [
            one for path in paths if (one := self.record_class.load(path)) and one.backend == self.name
        ]
        if budget is None or not earlier:
            return
        worst = self.estimate(spec).worst_case
        if worst is None:
            return  # `validate` refuses that
        hours = sum(self._hours(record) for record in earlier)
        # At the price that bounds it, not the one of now: what was spent may be less, and is never more.
        spent = hours * worst / self._settings.max_hours
        if spent + worst > budget:
            raise BudgetError(
                f"earlier attempts of this run took {hours:.1f} h, which may have cost ${spent:.2f}, and another one could cost "
                f"${worst:.2f}: together more than backend.settings.budget_usd ({budget:g})",
                place=str(folder),
                next_step="What it has saved is there. Raise the budget, or lower max_hours to what is left to do, and run it again.",
            )

    def _hours(self, record: R) -> float:
        """For how long an attempt cost at most."""
        since = self._costs_since(record)
        if since is None:
            return 0.0
        longest = float(record.settings.get("max_hours", self._settings.max_hours))
        return min(max(0.0, record.times.get("released", time.time()) - since) / 3600, longest)

    def _costs_since(self, record: R) -> float | None:
        """When an attempt began to cost; None where it never did."""
        return record.launched_at

    # Attempts

    def _record_for(self, spec: JobSpec, folder: Path) -> R:
        """The record of this attempt, written before anything is asked of the provider."""
        before = self._load(folder)
        if before is not None and _goes_on(before, spec):
            return before
        if spec.token and any(
            (earlier := Record.load(path)) is not None and earlier.token == spec.token
            for path in folder.glob(f"{EARLIER}/*")
        ):
            raise BackendError(
                "this attempt was launched before, and a later one has taken its place", place=str(folder)
            )
        if before is not None and not before.released:
            self._give_back(before, folder)
            before.times.setdefault("released", time.time())
            before.save(folder)
        self._refuse_another(spec, folder)
        archive_attempt(folder, resumed=bool(resume_reference(spec.config)))
        record = self.record_class(
            backend=self.name,
            token=spec.token or uuid.uuid4().hex,
            spec=asdict(replace(spec, config=dict(spec.config))),
            settings=self.settings,
            cwd=str(Path.cwd()),
            created_at=time.time(),
            **starts(folder),
        )
        record.spec["token"] = record.token
        self._prepare(record, before)
        _write_config(folder, record)
        record.save(folder)
        return record

    def _handle(self, record: R, folder: Path) -> Handle:
        """Names the machine of an attempt."""
        data = {"instance_id": record.machine, "token": record.token, "folder": str(folder.resolve())}
        return Handle(self.name, str(record.spec["run_id"]), data | self._place(record))

    def _load(self, folder: Path) -> R | None:
        """This backend's record in a folder. Raises: BackendError: another backend's machine may still be there."""
        any_record = Record.load(folder)
        if any_record is None:
            return None
        if any_record.backend == self.name:
            return self.record_class.load(folder)
        if not any_record.released:
            raise BackendError(
                f"an attempt of this run was rented from {any_record.backend}, which has not confirmed its end",
                place=str(folder),
                next_step=f"`tenyson attach {any_record.spec.get('run_id')}` brings it to its end; or give the new run another id.",
            )
        return None

    def _session(self, handle: Handle) -> Session[R]:
        key = str(handle.data["instance_id"])
        if key not in self._sessions:
            folder = Path(handle.data["folder"])
            record = self.record_class.load(folder)
            if record is None or record.machine != key:
                raise BackendError(
                    f"the record of {key} is not in the run's folder", place=str(folder),
                    next_step=f"Its machine can be given back: tenyson {self.name} cleanup --run {handle.run_id}",
                )  # fmt: skip
            self._lock(folder)
            self._sessions[key] = session = self._new_session(record, folder)
            session.begin()
        return self._sessions[key]

    def _lock(self, folder: Path) -> None:
        """One process at a time supervises a run. Raises: BackendError: another one does."""
        key = str(folder.resolve())
        if key in self._locks:
            return
        descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise BackendError(
                "another process is attached to this run",
                place=key,
                next_step="End that process first; the job keeps running.",
            ) from error
        self._locks[key] = descriptor

    def _say(self, text: str) -> None:
        self.say(f"{self.name}: {text}")


def starts(folder: Path) -> dict[str, Any]:
    """Where a new attempt begins in the files of a run that only grow."""
    log = RunFolder(folder).log
    return {
        "log_start": log.stat().st_size if log.exists() else 0,
        "bases": {path.name: path.stat().st_size for path in folder.glob("*.jsonl")},
    }


def _write_config(folder: Path, record: Record) -> None:
    """As a job on this machine would: what the run was asked for is known here, and is not taken from the machine."""
    import yaml

    from tenyson.telemetry.database.location import absolute_url

    config = dict(record.spec["config"])
    if url := (config.get("telemetry") or {}).get("db_url"):
        config["telemetry"] = {**config["telemetry"], "db_url": absolute_url(url)}
    text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    RunFolder(folder).config.write_text(text, encoding="utf-8")


def _asked(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration without the checkpoint to resume from: later attempts of a run ask for the same."""
    training = dict(config.get("training") or {})
    training.pop("resume_from_checkpoint", None)
    return {**config, "training": training}


def _goes_on(before: Record, spec: JobSpec) -> bool:
    """Whether the attempt of the record is the one that is asked for: the same token, or one without that is not over."""
    if spec.token:
        return before.token == spec.token
    over = before.fetched or before.lost is not None or before.released
    same = _asked(before.spec.get("config") or {}) == _asked(spec.config)
    return same and before.spec.get("job_type") == spec.job_type and not over and before.begun
