"""The record of an attempt in a Modal app."""

from __future__ import annotations

from dataclasses import dataclass

from tenyson.cloud.remote.record import Record


@dataclass
class CallRecord(Record):
    """The request to Modal and its answer."""

    app_name: str = ""
    """Under which the app is found again; written before it is made."""
    app_id: str | None = None
    call_id: str | None = None
    """Of the call of the function; the input that Modal works on until it has an answer."""
    follows: str | None = None
    """The call that works on the attempt, where ours came too late."""
    volume: str = ""
    environment: str | None = None

    @property
    def machine(self) -> str | None:
        """The call's id: containers come and go, it stays."""
        return self.call_id

    @property
    def begun(self) -> bool:
        """Whether Modal was asked for an app."""
        return bool(self.app_name)

    @property
    def unfetched(self) -> bool:
        """Whether the job began, and neither its outputs nor word of its end without them are here."""
        return self.job is not None and not self.fetched and self.lost is None
