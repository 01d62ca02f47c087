"""Rows: which tables an event goes to, and as what. Events come as the mappings that a spool's lines hold.

Imports SQLAlchemy: import this module only where the database is used.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import lru_cache
from hashlib import blake2b
from math import isfinite
from operator import itemgetter
from typing import Any

import orjson
from sqlalchemy import Connection, Table, select

from tenyson.tasks.rollout import REFUSED
from tenyson.telemetry.database import tables
from tenyson.telemetry.database.attempts import AttemptRow, begin, finish, start
from tenyson.telemetry.database.bulk import insert_rows, upsert_rows

Fields = dict[str, Any]
Row = tuple[Any, ...]

_ROLLOUT = itemgetter(
    "phase", "training", "step", "sample_id", "group", "prompt", "completion", "reward", "components", "advantage",
    "finish_reason", "trained", "dropped", "tokens", "info", "time",
)  # fmt: skip


class Rows:
    """The rows of a batch of events of one attempt: built without the database, stored in one go."""

    def __init__(self, attempt: AttemptRow, pack: Callable[[str], Any] | None = None) -> None:
        """`pack` makes of a completion what is stored of it."""
        self._attempt = attempt
        self._pack = pack
        self._rows: dict[Table, list[Row]] = defaultdict(list)
        self._groups: dict[Row, list[Any]] = {}
        self._prompts: dict[int, str] = {}
        self._prompt: tuple[int, str] = (-1, "")
        """Id and text of the latest one: a group's rollouts come together."""
        self._about_attempt: list[Fields] = []

    def add(self, numbered: Iterable[tuple[int, Fields]]) -> None:
        """Add events, each with its number.

        Raises: KeyError, TypeError, ValueError: an event is not what its kind should be.
        """
        for number, event in numbered:
            if event.get("event") == "RolloutFinished":
                self._rollout(number, event)
            else:
                self._add_event(number, event)

    def store(self, connection: Connection) -> None:
        """Write everything inside the connection's transaction."""
        if self._prompts:
            upsert_rows(connection, tables.prompts, list(self._prompts.items()), None)
        for table, rows in self._rows.items():
            insert_rows(connection, table, rows)
        if self._groups:
            upsert_rows(connection, tables.rollout_groups, self._group_rows(), _ADD_GROUP)
        for event in self._about_attempt:
            self._store_about_attempt(connection, event)
        if not self._attempt.is_latest:
            self._attempt.supersede_by_later(connection)

    def _add_event(self, number: int, event: Fields) -> None:
        match event.get("event"):
            case "MetricsLogged":
                self._add(
                    tables.metric_records, number, event["phase"], event["step"], event["epoch"],
                    _json(event["values"]), event["time"],
                )  # fmt: skip
            case "EpochEnded":
                self._add(
                    tables.epoch_records, number, event["phase"], event["epoch"], event["step"],
                    _number(event["loss"]), _number(event["kl"]), event["time"],
                )  # fmt: skip
            case "Notice":
                # A pipeline speaks of the runs of others.
                self._rows[tables.notices].append(
                    (
                        number,
                        event["run_id"],
                        self._attempt.attempt,
                        event["level"],
                        event["message"],
                        event["time"],
                    )
                )
            case _:
                self._about_attempt.append(event)

    def _store_about_attempt(self, connection: Connection, event: Fields) -> None:
        attempt = self._attempt
        match event.get("event"):
            case "RunStarted":
                start(connection, attempt, event)
            case "AttemptBegan":
                begin(connection, attempt, event)
            case "RunFinished":
                finish(connection, attempt, event)
            case "EventsLost":
                row = (attempt.run_id, attempt.attempt, event["rank"], event["sink"], event["reason"],
                       event["events"], event["time"])  # fmt: skip
                upsert_rows(connection, tables.losses, [row], "events = excluded.events")

    def _rollout(self, number: int, event: Fields) -> None:
        # One pass from fields to row: these come by the thousand.
        (phase, training, step, sample, group_id, text, completion, reward, components, advantage, finish_reason, trained,
         dropped, tokens, info, time) = _ROLLOUT(event)  # fmt: skip
        prompt, latest = self._prompt
        if text != latest:
            prompt = prompt_id(text)
            self._prompt = prompt, text
            self._prompts[prompt] = text
        reward = _number(reward)
        attempt, pack = self._attempt, self._pack
        calls = event.get("tool_calls")
        refused = None if calls is None else sum(one["outcome"] in REFUSED for one in calls)
        self._rows[tables.rollout_records].append(
            (
                number, attempt.run, attempt.attempt, phase, training, step, sample, group_id, prompt,
                pack(completion) if pack else completion, reward, _json(components), _number(advantage), finish_reason,
                trained, dropped, tokens, _json(info) if info else "{}", time, False,
                None if calls is None else len(calls), refused,
            )
        )  # fmt: skip
        for count, error in enumerate(event.get("errors", ())):
            self._rows[tables.rollout_error_records].append(
                (
                    number, count, error["source"], error["kind"], error["message"], error["traceback"], error["retried"],
                )
            )  # fmt: skip
        for count, one in enumerate(event.get("verdicts", ())):
            self._rows[tables.verdict_records].append(
                (
                    number, count, one["reward"], one["criterion"], one["opponent"], _number(one["value"]), one["text"],
                    one["model"], one["prompt_tokens"], one["completion_tokens"], _number(one["usd"]), one["reused"], one["key"],
                )
            )  # fmt: skip
        for count, one in enumerate(calls or ()):
            self._rows[tables.tool_call_records].append(
                (
                    number,
                    count,
                    one["turn"],
                    one["name"],
                    one["outcome"],
                    one["cause"],
                    _number(one["seconds"]),
                )
            )
        key = (step, group_id, phase, training)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = [sample, 0, 0, 0.0, 0.0, None, None, 0, 0]
        group[1] += 1
        if reward is not None:
            group[2] += 1
            group[3] += reward
            group[4] += reward * reward
            group[5] = reward if group[5] is None else min(group[5], reward)
            group[6] = reward if group[6] is None else max(group[6], reward)
        group[7] += finish_reason == "length"
        group[8] += tokens

    def _add(self, table: Table, number: int, *values: Any) -> None:
        self._rows[table].append((number, self._attempt.run, self._attempt.attempt, *values, False))

    def _group_rows(self) -> list[Row]:
        rows = []
        for (step, group_id, phase, training), values in self._groups.items():
            sample, n, scored, total, squares, low, high, truncated, tokens = values
            mean = total / scored if scored else None
            rows.append(
                (self._attempt.run, step, group_id, self._attempt.attempt, phase, training, sample, n, scored, total,
                 squares, mean, low, high, truncated, tokens, False)
            )  # fmt: skip
        return rows


# A group may come in several batches, from several ranks.
_ADD_GROUP = """
    n = rollout_groups.n + excluded.n,
    scored = rollout_groups.scored + excluded.scored,
    reward_sum = rollout_groups.reward_sum + excluded.reward_sum,
    reward_squares = rollout_groups.reward_squares + excluded.reward_squares,
    reward_mean = (rollout_groups.reward_sum + excluded.reward_sum)
        / nullif(rollout_groups.scored + excluded.scored, 0),
    reward_min = CASE WHEN rollout_groups.reward_min <= excluded.reward_min OR excluded.reward_min IS NULL
        THEN rollout_groups.reward_min ELSE excluded.reward_min END,
    reward_max = CASE WHEN rollout_groups.reward_max >= excluded.reward_max OR excluded.reward_max IS NULL
        THEN rollout_groups.reward_max ELSE excluded.reward_max END,
    truncated = rollout_groups.truncated + excluded.truncated,
    tokens = rollout_groups.tokens + excluded.tokens"""

_NUMBERED = (
    tables.metric_records,
    tables.epoch_records,
    tables.rollout_records,
    tables.notices,
)


def any_stored(connection: Connection, first: int, last: int) -> bool:
    """Whether an event with a number from `first` to `last` is stored already."""
    between = (select(table.c.id).where(table.c.id.between(first, last)).limit(1) for table in _NUMBERED)
    return any(connection.execute(query).first() is not None for query in between)


def stored_numbers(connection: Connection, first: int, last: int) -> set[int]:
    """Numbers of events from `first` to `last` that are stored already."""
    found: set[int] = set()
    for table in _NUMBERED:
        found.update(connection.execute(select(table.c.id).where(table.c.id.between(first, last))).scalars())
    return found


@lru_cache(maxsize=1024)
def prompt_id(text: str) -> int:
    """63 bits of BLAKE2b: among 10 million prompts, two share an id with probability 5e-6."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()


def _number(value: Any) -> float | None:
    # A reward may be a bool, which PostgreSQL does not take for a number. NaN and infinities travel as text: SQLite would
    # make NULL of one and keep the other, PostgreSQL would keep both, and no mean survives either.
    number = None if value is None else float(value)
    return number if number is not None and isfinite(number) else None
