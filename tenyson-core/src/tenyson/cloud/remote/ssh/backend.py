"""SSHBackend: what every backend shares whose machines are reached over SSH. A cloud adds how one is launched, found and priced."""

from __future__ import annotations

import time
from abc import abstractmethod
from pathlib import Path
from typing import Any, TypeVar

from tenyson.cloud.backend import Handle
from tenyson.cloud.remote.backend import RemoteBackend, starts
from tenyson.cloud.remote.bundle import make_bundle
from tenyson.cloud.remote.input_files import find_input_files
from tenyson.cloud.remote.outputs import parse
from tenyson.cloud.remote.recall import recalled
from tenyson.cloud.remote.ssh.errors import CommandError
from tenyson.cloud.remote.ssh.keys import require_key
from tenyson.cloud.remote.ssh.machine.start import ATTEMPT
from tenyson.cloud.remote.ssh.provider import Machine
from tenyson.cloud.remote.ssh.record import SSHRecord
from tenyson.cloud.remote.ssh.session import SSHSession, connect
from tenyson.cloud.remote.ssh.settings import SSHSettings
from tenyson.jobs.spec import JobSpec

MOST_RECORD_BYTES = 1 << 20
R = TypeVar("R", bound=SSHRecord)


class SSHBackend(RemoteBackend[R]):
    """A job is a process on a machine of its own, which is rented for it and given back after it.

    A cloud writes `record_class`, `session_class`, `_settings`, and the methods `validate`, `estimate`, `list`, `_launch`, `_machine`,
    `_give_back` and `_find`.
    """

    session_class: type[SSHSession[R]]
    """What follows an attempt."""
    _settings: SSHSettings

    @abstractmethod
    def _machine(self, record: R) -> Machine:
        """The machine of an attempt that was launched."""

    def validate(self, spec: JobSpec) -> None:
        """The job's files and wheels, and the key; nothing is spent. Raises: BackendError."""
        find_input_files(spec)
        distributions = self.session_class.code.distributions
        make_bundle(spec, distributions, self._settings.extras, python=self._settings.python)
        require_key(self._settings)

    def release(self, handle: Handle) -> None:
        """Terminate the machine and see that it is; one with outputs that could not be fetched is left to its idle limit.

        Raises: BackendError: the provider does not confirm it.
        """
        session = self._session(handle)
        assert isinstance(session, SSHSession)
        record = session.record
        unfetched = record.job is not None and not record.fetched and record.lost is None
        if record.released or unfetched:
            return
        session.machine.terminate(self._say)
        record.released = True
        record.times["released"] = time.time()
        record.save(session.folder)
        self._say(f"{record.machine} is terminated")

    def _new_session(self, record: R, folder: Path) -> SSHSession[R]:
        return self.session_class(record, folder, self._machine(record), self._settings, self._say)

    def _recall(self, machine: Machine, folder: Path, launched_at: float, **known: Any) -> R | None:
        """The record of an attempt that another controller began; None where the job has not begun on the machine.

        The machine is asked for the attempt's token, the kind of its job and where its files are there. What decides a path, a command
        or a price here comes from the provider, as `known`, and from these settings.
        """
        address, host_keys = machine.poll().address, machine.host_keys()
        if address is None or not host_keys:
            return None
        connection = connect(self._settings, self.name, machine.id, address, host_keys)
        try:
            data = parse(connection.run(["head", "-c", str(MOST_RECORD_BYTES), str(ATTEMPT)]))
        except CommandError:
            return None
        finally:
            connection.close()
        told = recalled(data, folder.name, self.output_dir)
        if told is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        record = self.record_class(
            backend=self.name,
            settings=self.settings,
            created_at=launched_at,
            launched_at=launched_at,
            host_keys=host_keys,
            **known,
            **told,
            **starts(folder),
        )
        record.there = (record.job or {}).get("folder", "")
        if not record.there:
            return None
        record.save(folder)
        return record
