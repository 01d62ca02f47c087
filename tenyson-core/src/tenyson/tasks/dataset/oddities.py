"""Oddities: what is strange about rows that can be read, counted while they are read, as findings of preflight."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any

from tenyson.core.finding import Finding
from tenyson.tasks.dataset.formats import Example
from tenyson.tasks.dataset.row import Row, RowError
from tenyson.tasks.sample import Message

NAMED = 3
"""Places that a finding names."""
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u200b\u2028\u2029\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffd]"
)
"""Control characters, zero-width ones, marks of direction, and the replacement character."""


class Oddities:
    """Counts by kind, with the first places of each."""

    def __init__(self, split: str) -> None:
        self._split = split
        self._places: dict[str, list[str]] = {}
        self._counts: dict[str, int] = {}
        self._types: dict[str, dict[str, str]] = {}
        self._numbers: dict[str, dict[str, int]] = {}
        self.rows = 0
        self._rows: dict[bytes, str] = {}
        self.prompts: dict[bytes, str] = {}
        """Where each prompt was first, by its digest."""

    def clear(self) -> None:
        """Begin again, for another pass over the same rows."""
        self.__init__(self._split)  # type: ignore[misc]

    def left_out(self, error: RowError) -> None:
        """Count a row that cannot be read."""
        self._count("bad_rows", str(error))

    def byte_order_mark(self, file: str) -> None:
        """Count a file that begins with one."""
        self._count("byte_order_mark", file)

    def look(self, row: Row, example: Example) -> None:
        """Count what is odd about a row."""
        self.rows += 1
        for column, value in row.values.items():
            self._type(column, value, row.place)
        replies = example.completion or [*example.chosen, *example.rejected]
        prompt, whole = digest(example.prompt), digest([*example.prompt, *replies])
        self.prompts.setdefault(prompt, row.place)
        if self._rows.setdefault(whole, row.place) != row.place:
            self._count("duplicates", f"{row.place}, as {self._rows[whole]}")
        texts = [one["content"] for one in (*example.prompt, *replies)]
        if any("\r" in text for text in texts):
            self._count("carriage_returns", row.place)
        for text in texts:
            if (found := _INVISIBLE.search(text)) is not None:
                self._count("odd_characters", f"{row.place} (U+{ord(found[0]):04X})")
                break
        if any(
            one["role"] == "assistant" and not one["content"].strip() and not one.get("tool_calls")
            for one in example.completion
        ):
            self._count("empty_answer", row.place)

    def findings(self) -> Iterator[Finding]:
        """One for each kind that was seen."""
        for check, (cause, next_step) in _WORDS.items():
            if number := self._counts.get(check):
                yield Finding(
                    check,
                    "warning",
                    f"{cause.format(rows=counted(number, f'{self._split} row'), files=counted(number, 'file'))}: {self._first(check)}",
                    next_step,
                )
        for column, first in self._types.items():
            if len(first) > 1:
                numbers = self._numbers[column]
                kinds = sorted(first, key=lambda kind: -numbers[kind])
                each = ", ".join(f"{kind} in {numbers[kind]:,} (first: {first[kind]})" for kind in kinds)
                yield Finding(
                    "mixed_types",
                    "warning",
                    f"the column {column!r} of {self._split} holds {each}",
                    "Write all rows of a column in the same way.",
                )

    def overlap(self, train: Mapping[bytes, str]) -> Iterator[Finding]:
        """The prompts of these rows that are in train too, whose places `train` has by digest."""
        shared = [f"{place}, as {train[one]}" for one, place in self.prompts.items() if one in train]
        if shared:
            more = " and others" if len(shared) > NAMED else ""
            yield Finding(
                "overlap",
                "warning",
                f"{len(shared):,} of {len(self.prompts):,} prompts of the eval split are also in train: {'; '.join(shared[:NAMED])}{more}",
                "Hold rows out by their prompt (task.args.eval_fraction), or take them out of one file.",
            )

    def _count(self, check: str, place: str) -> None:
        self._counts[check] = self._counts.get(check, 0) + 1
        places = self._places.setdefault(check, [])
        if len(places) < NAMED:
            places.append(place)

    def _first(self, check: str) -> str:
        places = "; ".join(self._places[check])
        return f"{places} and others" if self._counts[check] > NAMED else places

    def _type(self, column: str, value: Any, place: str) -> None:
        kind = _kind(value)
        if kind is None:
            return
        self._types.setdefault(column, {}).setdefault(kind, place)
        numbers = self._numbers.setdefault(column, {})
        numbers[kind] = numbers.get(kind, 0) + 1


def counted(number: int, what: str) -> str:
    """A number of things, such as "1 train row" or "2 train rows"."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def digest(messages: Sequence[Message]) -> bytes:
    """Of what a conversation says, blanks at the ends aside."""
    text = "\0".join(f"{one['role']}\0{one['content'].strip()}" for one in messages)
    return blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()


def _kind(value: Any) -> str | None:
    if value is None:
        return None
    for kind, types in _KINDS.items():
        if isinstance(value, types):
            return kind
    return type(value).__name__


_KINDS: Mapping[str, Any] = {
    "truth values": bool,
    "text": str,
    "numbers": (int, float),
    "lists": list,
    "mappings": dict,
}
_WORDS: Mapping[str, tuple[str, str]] = {
    "bad_rows": (
        "{rows} cannot be read and left out",
        "Correct them; `tenyson data FILE` names all of them.",
    ),
    "byte_order_mark": (
        "a byte order mark, which is skipped, at the beginning of {files}",
        "Save as UTF-8 without BOM: other programs read the mark as part of the first column.",
    ),
    "carriage_returns": (
        "carriage returns (CRLF line ends), which the model would learn to write, in the text of {rows}",
        "Write the file with line ends of Unix (\\n), its texts included.",
    ),
    "odd_characters": (
        "characters that are invisible, or replace one that was lost, in the text of {rows}",
        "Look at these rows; clean them if the characters are not meant.",
    ),
    "duplicates": (
        "the same text as in an earlier row, which weighs more for it, in {rows}",
        "Leave them out, unless they are meant.",
    ),
    "empty_answer": (
        "an empty reply, so that the model would learn to say nothing, in {rows}",
        "Leave them out, or add a filter.",
    ),
}
