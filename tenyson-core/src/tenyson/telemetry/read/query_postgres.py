"""A person's query to PostgreSQL: one statement that reads, in a transaction that it cannot leave.

A read-only transaction alone is not enough: COPY, and functions such as pg_read_file, lo_export, dblink or
pg_terminate_backend, reach the server and other sessions from inside one. So the statement must begin like a query, the
functions that it calls must be ones without side effects, as the server's own catalogue has them, and it runs as a role
that only reads, where the server has one that this user may take.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tenyson.errors import TelemetryError
from tenyson.telemetry.read.answer import ONLY_READS, Answer, no_query, took_too_long

if TYPE_CHECKING:
    from psycopg import Connection

_STREAMED = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})
_OTHERS = frozenset({"EXPLAIN", "SHOW"})
READER = "pg_read_all_data"
"""A role of PostgreSQL 14 and later that reads all tables and has no other right."""
HARMLESS = frozenset(
    {
        "bernoulli", "clock_timestamp", "currval", "gen_random_uuid", "lastval", "pg_blocking_pids", "pg_database_size",
        "pg_indexes_size", "pg_is_in_recovery", "pg_relation_size", "pg_sleep", "pg_sleep_for", "pg_sleep_until",
        "pg_table_size", "pg_tablespace_size", "pg_total_relation_size", "pg_xact_commit_timestamp", "random",
        "random_normal", "system", "timeofday", "uuidv4", "uuidv7",
    }
)  # fmt: skip
"""Functions that the catalogue calls volatile, since their results change, and that do nothing."""

_TOKEN = re.compile(
    r"""(?P<space>\s+|--[^\n\r]*)
    |(?P<block>/\*)
    |(?P<escaped>[eE]'(?:[^'\\]|''|\\.)*')
    |(?P<string>(?:[uU]&|[bBxXnN])?'(?:[^']|'')*')
    |(?P<dollar>\$(?:[^\W\d]\w*)?\$)
    |(?P<unicode>[uU]&"(?:[^"]|"")*")
    |(?P<quoted>"(?:[^"]|"")*")
    |(?P<name>[^\W\d][\w$]*)
    |(?P<number>\d+)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


def ask_postgres(connection: Connection[Any], query: str, *, timeout: float, limit: int) -> Answer:
    """Run one query; whatever it did, the transaction is rolled back.

    Raises: TelemetryError: it would do more than read, fails, or takes too long.
    """
    import psycopg

    query = _one_statement(query)
    begins, called = _begins_with(query), functions_called(query)
    connection.rollback()
    connection.read_only = True
    try:
        # The text's own quoting rules are those by which the functions in it were found.
        connection.execute("SET LOCAL standard_conforming_strings = on")
        connection.execute(f"SET LOCAL statement_timeout = {max(1, int(timeout * 1000))}")
        _refuse_side_effects(connection, called)
        _become_reader(connection)
        if begins not in _STREAMED:
            with connection.cursor() as cursor:
                # Prepared, so that the server takes one statement only.
                cursor.execute(query.encode(), prepare=True)
                return _answer(cursor, limit)
        # From a client's cursor all rows would come at once.
        with connection.cursor(name="tenyson") as cursor:
            cursor.execute(query.encode())
            return _answer(cursor, limit)
    except psycopg.Error as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        if isinstance(error, psycopg.errors.QueryCanceled) and "timeout" in reason:
            raise took_too_long(timeout) from error
        raise TelemetryError(_explained(reason)) from error
    finally:
        if not connection.closed:
            connection.rollback()


def _answer(cursor: Any, limit: int) -> Answer:
    if cursor.description is None:
        raise no_query("the statement returns no rows")
    rows = cursor.fetchmany(limit + 1)
    return Answer(
        [column.name for column in cursor.description],
        [tuple(row) for row in rows[:limit]],
        len(rows) > limit,
    )


def functions_called(query: str) -> set[str]:
    """The names before an opening bracket, as the server reads them: functions, and other words that do no harm here."""
    found, last = set(), ""
    for kind, text in _tokens(query):
        if kind == "other" and text == "(" and last:
            found.add(last)
        if kind == "name":
            last = text.lower()
        elif kind == "quoted":
            last = text[1:-1].replace('""', '"')
        else:
            last = ""
    return found


def _one_statement(query: str) -> str:
    tokens = list(_tokens(query))
    places = [place for place, token in enumerate(tokens) if token == ("other", ";")]
    if places and len(tokens) > places[0] + len(places):
        raise TelemetryError(f"one statement at a time: {ONLY_READS}, one query a call")
    return query.strip() if not places else query[: _place_of_semicolon(query)].strip()


def _place_of_semicolon(query: str) -> int:
    for match in _matches(query):
        if match["other"] == ";":
            return match.start()
    return len(query)


def _begins_with(query: str) -> str:
    word = next((text for kind, text in _tokens(query) if (kind, text) != ("other", "(")), "")
    if word.upper() not in _STREAMED | _OTHERS:
        raise no_query(f"the statement begins with {word[:20]!r}" if word else "the statement is empty")
    return word.upper()


def _tokens(query: str) -> Iterator[tuple[str, str]]:
    """Kind and text, without blanks and comments."""
    for match in _matches(query):
        if match.lastgroup not in ("space", "block"):
            yield str(match.lastgroup), match[0]


def _matches(query: str) -> Iterator[re.Match[str]]:
    place, escapes = 0, False
    while place < len(query):
        match = _TOKEN.match(query, place)
        assert match is not None
        place = match.end()
        if match.lastgroup == "block":
            place = _end_of_comment(query, place)
        elif match.lastgroup == "dollar":
            end = query.find(match[0], place)
            if end < 0:
                raise _unreadable(f"the text after {match[0]} has no end")
            place = end + len(match[0])
        elif match.lastgroup == "unicode" and ("\\" in match[0] or "UESCAPE" in query.upper()):
            raise _unreadable("names with Unicode escapes are not taken")
        elif match["other"] in ("'", '"'):
            raise _unreadable("a quotation mark has no partner")
        escapes = escapes or match.lastgroup == "escaped"
        yield match
    if escapes and "\\'" in query:
        # A string that is continued on the next line keeps its escapes: which quotation mark ends it is not clear.
        raise _unreadable("a quotation mark in a string is written '' here, not \\'")


def _end_of_comment(query: str, place: int) -> int:
    depth = 1  # they nest
    for mark in re.finditer(r"/\*|\*/", query[place:]):
        depth += 1 if mark[0] == "/*" else -1
        if not depth:
            return place + mark.end()
    raise _unreadable("a comment has no end")


def _unreadable(why: str) -> TelemetryError:
    return TelemetryError(f"the database refuses the query: {why}")


def _refuse_side_effects(connection: Connection[Any], names: set[str]) -> None:
    """Raises: TelemetryError: one of the names is a function that the catalogue does not know as one that only reads."""
    cursor = connection.execute(
        """SELECT p.proname FROM pg_catalog.pg_proc p
           JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
           JOIN pg_catalog.pg_language l ON l.oid = p.prolang
           WHERE p.proname = ANY(%s) AND p.provolatile <> 'i'
           AND (p.provolatile = 'v' AND NOT (n.nspname = 'pg_catalog' AND p.proname = ANY(%s))
                OR n.nspname <> 'pg_catalog' AND l.lanname = 'c')
           ORDER BY p.proname LIMIT 1""",
        (sorted(names), sorted(HARMLESS)),
    )
    if (row := cursor.fetchone()) is not None:
        raise TelemetryError(
            f"{ONLY_READS}, and the function {row[0]} may do more",
            next_step="Use psql, or another client, for what is to be changed.",
        )


def _become_reader(connection: Connection[Any]) -> None:
    """Give up the right to write, and a superuser's rights, for this transaction."""
    # Since PostgreSQL 16 a member may lack the right to become the role.
    right = "SET" if connection.info.server_version >= 160000 else "MEMBER"
    row = connection.execute(
        "SELECT pg_catalog.current_schemas(false) FROM pg_catalog.pg_roles "
        "WHERE rolname = %s AND pg_catalog.pg_has_role(current_user, oid, %s)",
        (READER, right),
    ).fetchone()
    if row is None:
        return
    from psycopg import sql

    if row[0]:
        # "$user" in the search path is another schema for another role.
        path = sql.SQL(", ").join(map(sql.Identifier, row[0]))
        connection.execute(sql.SQL("SET LOCAL search_path = {}").format(path))
    connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(READER)))


def _explained(reason: str) -> str:
    if "read-only" in reason or "data-modifying" in reason or "INTO is not allowed" in reason:
        return f"{ONLY_READS}: {reason}"
    if "multiple commands" in reason:
        return f"one statement at a time: {reason}"
    return f"the database refuses the query: {reason}"
