"""Formats: how the columns of a row are read. A file has one format, recognised by its columns and shown by `tenyson data`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenyson.errors import TaskError
from tenyson.tasks.dataset.messages import (
    alternating,
    fit_reply,
    message_list,
    sharegpt_list,
    text_of,
    tool_list,
)
from tenyson.tasks.dataset.row import Row, RowError
from tenyson.tasks.sample import Message

_PROMPTS = ("prompt", "question", "problem", "query", "instruction")
_ANSWERS = ("answer", "solution", "target", "expected_answer", "ground_truth", "label")


@dataclass(frozen=True)
class Example:
    """What a row says, whatever its format."""

    prompt: list[Message]
    """Ends with a user message."""
    completion: list[Message] = field(default_factory=list)
    """Begins with an assistant message; empty where the row has nothing to imitate."""
    chosen: list[Message] = field(default_factory=list)
    rejected: list[Message] = field(default_factory=list)
    answer: Any = None
    """What rewards compare a reply with; None where the row has none."""
    tools: list[Mapping[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class RowFormat:
    """One format."""

    name: str
    needs: tuple[str, ...]
    """Fields that every row has."""
    read: Callable[[Row], Example]
    """Raises: RowError."""
    learns: str
    """What SFT and DPO learn from it, in words."""


def recognise(columns: Iterable[str]) -> tuple[str, dict[str, str]] | None:
    """The format that a row with these columns has, and the fields that are called otherwise; None where it is none that is known."""
    names = set(columns)
    if {"chosen", "rejected"} <= names:
        return "preference", _renamed(names, prompt=_PROMPTS) if "prompt" not in names else {}
    if "messages" in names:
        return "messages", {}
    if "conversations" in names:
        return "sharegpt", {}
    if {"instruction", "output"} <= names:
        return "alpaca", {}
    if "completion" in names or "response" in names:
        renamed = _renamed(names, prompt=_PROMPTS, completion=("completion", "response"))
        return ("completion", renamed) if _has(names, renamed, "prompt", "completion") else None
    renamed = _renamed(names, prompt=_PROMPTS, answer=_ANSWERS)
    return ("answer", renamed) if _has(names, renamed, "prompt", "answer") else None


def common_format(rows: Iterable[Row], label: str) -> tuple[str, dict[str, str]]:
    """The format that most of some rows have. Raises: TaskError: none has a format that is known."""
    counts: Counter[str] = Counter()
    found: dict[str, dict[str, str]] = {}
    columns: dict[str, None] = {}
    for row in rows:
        columns |= dict.fromkeys(map(str, row.values))
        if (known := recognise(row.values)) is not None:
            counts[known[0]] += 1
            found.setdefault(*known)
    if not counts:
        raise TaskError(
            f"the columns tell no format: {', '.join(columns) or 'there are none'}",
            place=label,
            next_step="Set format and columns, such as columns: {prompt: COLUMN, completion: COLUMN} (--column prompt=COLUMN). Formats: "
            + "; ".join(f"{one.name} ({', '.join(one.needs)})" for one in FORMATS.values())
            + ".",
        )
    name = counts.most_common(1)[0][0]
    return name, found[name]


def example_of(row: Row, name: str) -> Example:
    """The row, read in a format. Raises: RowError: it lacks a field, is of another format, or does not fit."""
    chosen = FORMATS[name]
    missing = [one for one in chosen.needs if one not in row.values]
    if missing:
        other = recognise(row.values)
        if other is not None and other[0] != name:
            raise RowError(
                row.place,
                f"it looks like {other[0]} ({', '.join(FORMATS[other[0]].needs)}), and the file is {name}",
            )
        has = ", ".join(map(str, row.values)) or "none"
        raise RowError(row.place, f"it has no column {missing[0]!r}, which {name} needs; it has {has}")
    return chosen.read(row)


def _messages(row: Row) -> Example:
    return _split_turns(message_list(row, "messages"), row)


def _sharegpt(row: Row) -> Example:
    return _split_turns(sharegpt_list(row, "conversations"), row)


def _split_turns(messages: list[Message], row: Row) -> Example:
    messages = _with_system(messages, row)
    alternating(messages, row.place)
    first = next((place for place, one in enumerate(messages) if one["role"] == "assistant"), len(messages))
    prompt, completion = messages[:first], messages[first:]
    if completion and completion[-1]["role"] != "assistant":
        raise RowError(
            row.place,
            f"it ends with a message of the {completion[-1]['role']}, so that no reply is learnt after it",
        )
    return Example(prompt, completion, answer=_answer(row, completion), tools=tool_list(row))


def _alpaca(row: Row) -> Example:
    instruction, given = text_of(row, "instruction"), text_of(row, "input", "")
    prompt = _with_system(_history(row), row)
    prompt.append({"role": "user", "content": f"{instruction}\n{given}" if given else instruction})
    completion: list[Message] = [{"role": "assistant", "content": text_of(row, "output")}]
    return Example(prompt, completion, answer=_answer(row, completion))


def _history(row: Row) -> list[Message]:
    turns = row.values.get("history") or []
    pairs = isinstance(turns, list) and all(isinstance(one, list) and len(one) == 2 for one in turns)
    if not pairs or not all(isinstance(text, str) for one in turns for text in one):
        raise RowError(row.place, "history is no list of pairs of texts")
    found: list[Message] = []
    for said, answered in turns:
        found += [{"role": "user", "content": said}, {"role": "assistant", "content": answered}]
    return found


def _completion(row: Row) -> Example:
    prompt = _with_system(_prompt(row), row)
    completion = fit_reply(row, "completion")
    alternating([*prompt, *completion], row.place)
    return Example(prompt, completion, answer=_answer(row, completion), tools=tool_list(row))


def _prompt_and_answer(row: Row) -> Example:
    prompt = _with_system(_prompt(row), row)
    alternating(prompt, row.place)
    answer = row.values["answer"]
    if answer is None or answer == "":
        raise RowError(row.place, "its answer is empty")
    completion: list[Message] = [{"role": "assistant", "content": answer}] if isinstance(answer, str) else []
    if isinstance(answer, int | float):
        completion = [{"role": "assistant", "content": str(answer)}]
    return Example(prompt, completion, answer=answer, tools=tool_list(row))


def _preference(row: Row) -> Example:
    chosen, rejected = fit_reply(row, "chosen"), fit_reply(row, "rejected")
    if "prompt" in row.values:
        prompt = _prompt(row)
        # Some data sets repeat the prompt in both answers.
        if chosen[: len(prompt)] == prompt == rejected[: len(prompt)]:
            chosen, rejected = chosen[len(prompt) :], rejected[len(prompt) :]
    else:
        shared = 0
        while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
            shared += 1
        prompt, chosen, rejected = chosen[:shared], chosen[shared:], rejected[shared:]
        if not prompt:
            raise RowError(row.place, "it has no prompt, and its answers do not begin with the same messages")
    prompt = _with_system(prompt, row)
    for answer in (chosen, rejected):
        alternating([*prompt, *answer], row.place)
    return Example(prompt, chosen=chosen, rejected=rejected, tools=tool_list(row))


def _prompt(row: Row) -> list[Message]:
    given = row.values["prompt"]
    if isinstance(given, str):
        return [{"role": "user", "content": text_of(row, "prompt")}]
    messages = message_list(row, "prompt")
    if messages[-1]["role"] not in ("user", "tool"):
        raise RowError(
            row.place,
            f"its prompt ends with a message of the {messages[-1]['role']}; it must end with one of the user",
        )
    return messages


def _with_system(messages: list[Message], row: Row) -> list[Message]:
    system = row.values.get("system")
    if not system or (messages and messages[0]["role"] == "system"):
        return list(messages)
    return [{"role": "system", "content": text_of(row, "system")}, *messages]


def _answer(row: Row, completion: list[Message]) -> Any:
    """The column `answer`, else the text of the last reply."""
    if "answer" in row.values:
        return row.values["answer"]
    return completion[-1]["content"] if completion else None


def _renamed(names: set[str], **fields: tuple[str, ...]) -> dict[str, str]:
    found = {field: next((one for one in ways if one in names), None) for field, ways in fields.items()}
    return {field: name for field, name in found.items() if name is not None and name != field}


def _has(names: set[str], renamed: Mapping[str, str], *fields: str) -> bool:
    return all(one in names or one in renamed for one in fields)


FORMATS: Mapping[str, RowFormat] = {
    one.name: one
    for one in (
        RowFormat("messages", ("messages",), _messages, "every reply of the assistant"),
        RowFormat("sharegpt", ("conversations",), _sharegpt, "every reply of gpt"),
        RowFormat("alpaca", ("instruction", "output"), _alpaca, "the output"),
        RowFormat("completion", ("prompt", "completion"), _completion, "the completion"),
        RowFormat("answer", ("prompt", "answer"), _prompt_and_answer, "the answer, as the reply"),
        RowFormat("preference", ("chosen", "rejected"), _preference, "to prefer chosen to rejected"),
    )
}
