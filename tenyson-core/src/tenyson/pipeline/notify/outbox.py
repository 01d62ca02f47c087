"""The outbox: a thread that delivers notifications, retrying until they arrive. Jobs never wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from tenyson.core.stdio import say
from tenyson.errors import JournalAwayError
from tenyson.pipeline.notify.webhook import DeliveryError, Webhook

if TYPE_CHECKING:
    from tenyson.pipeline.journal.journal import Journal

LOOK_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 2.0
LONGEST_PAUSE_SECONDS = 900.0
LAST_CHANCE_SECONDS = 5.0
"""How long a controller keeps trying when it ends; the next controller of the same pipeline sends the rest."""


class Dispatcher:
    """Delivers one pipeline's notifications while it is entered. Each arrives at least once."""

    def __init__(self, journal: Journal, pipeline_id: str, channels: Mapping[str, Webhook]) -> None:
        self._journal = journal
        self._pipeline = pipeline_id
        self._channels = channels
        self._wake = threading.Event()
        self._over = False
        self._told: set[str] = set()
        self._thread = threading.Thread(target=self._work, name="outbox", daemon=True)

    def wake(self) -> None:
        """There is news."""
        self._wake.set()

    def __enter__(self) -> Self:
        if self._channels:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self._wake.set()
        if self._channels:
            self._thread.join(LAST_CHANCE_SECONDS)

    def deliver(self) -> int:
        """Try all that is due, once each; returns how many are still to be sent."""
        from sqlalchemy import func, select, update

        from tenyson.pipeline.journal.tables import outbox

        mine = (
            outbox.c.pipeline_id == self._pipeline, outbox.c.sent_at.is_(None), outbox.c.channel.in_(self._channels)
        )  # fmt: skip
        now = self._journal.now()
        with self._journal.reading() as connection:
            query = select(outbox).where(*mine, outbox.c.next_try_at <= now).order_by(outbox.c.id)
            due = connection.execute(query).all()
        for message in due:
            webhook, failed = self._channels[message.channel], None
            if not isinstance(message.payload, Mapping) or not isinstance(message.tries, int):
                self._tell_damaged(message.id)
                continue
            try:
                webhook.send(message.payload, message.event_id)
            except DeliveryError as error:
                failed = str(error)
                self._tell(webhook, failed)
            pause = min(FIRST_PAUSE_SECONDS * 2 ** max(0, min(message.tries, 20)), LONGEST_PAUSE_SECONDS)
            with self._journal.transaction() as (connection, now):
                values = {"sent_at": None if failed else now, "error": failed, "next_try_at": now + pause}
                connection.execute(
                    update(outbox).where(outbox.c.id == message.id).values(tries=message.tries + 1, **values)
                )
        with self._journal.reading() as connection:
            left: int = connection.execute(select(func.count()).where(*mine)).scalar_one()
        return left

    def _work(self) -> None:
        deadline = None
        while True:
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()
            over = self._over
            try:
                left = self.deliver()
            except JournalAwayError:
                left = 1  # the database is away; the controller says so
            if over:
                deadline = deadline or time.monotonic() + LAST_CHANCE_SECONDS
                if not left or time.monotonic() > deadline:
                    return

    def _tell_damaged(self, row: object) -> None:
        told = f"warning: the journal has a damaged row: pipeline_outbox, id {row!r:.40}: it is not sent"
        if told not in self._told:
            self._told.add(told)
            say(told)

    def _tell(self, webhook: Webhook, why: str) -> None:
        if webhook.host not in self._told:
            self._told.add(webhook.host)
            say(f"warning: the webhook on {webhook.host} was not reached, and is tried again: {why}")
