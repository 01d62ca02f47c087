"""What is wrong with a data file is named with file and row, by preflight and by `tenyson data` alike, before the first step."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

TALK = [{"role": "user", "content": "ab"}, {"role": "assistant", "content": "ba"}]
GOOD = json.dumps({"messages": TALK}).encode() + b"\n"


def talk(*turns, **more):
    """A row of messages; roles by their first letter."""
    roles = {"u": "user", "a": "assistant", "s": "system", "t": "tool"}
    return (
        json.dumps(
            {"messages": [{"role": roles[one[0]], "content": one[1:]} for one in turns], **more}
        ).encode()
        + b"\n"
    )


def pair(prompt, chosen, rejected):
    return json.dumps({"prompt": prompt, "chosen": chosen, "rejected": rejected}).encode() + b"\n"


@pytest.fixture
def examine(tmp_path, monkeypatch):
    """What preflight finds of files in a folder, as one text."""
    monkeypatch.chdir(tmp_path)

    def of(files, job="sft", args=None, **training):
        from tenyson.jobs.preflight.examine import Examination
        from tenyson.plugins.job_kinds import job_class
        from tenyson.tasks.load import load_task

        for name, content in files.items():
            (tmp_path / name).write_bytes(content)
        args = {"data": next(iter(files)), **(args or {})}
        config = {
            "run": {"output_dir": str(tmp_path / "outputs")},
            "model": {"factory": "tenyson.testing.tiny:build"},
            "task": {"name": "dataset", "args": args},
            "training": {"max_steps": 2, "batch_size": 2, **training},
        }
        examination = Examination(job_class(job)(config, load_task("dataset", args)))
        examination.run()
        return "\n".join(str(one) for one in examination.findings if one.severity != "info")

    return of


FAULTS = {
    "wrong role order": (
        talk("uab", "ucd", "aba"),
        "d.jsonl:2: message 2 (user) is a second one of the user in a row",
    ),
    "a reply first": (talk("aba"), "d.jsonl:2: message 1 (assistant) is a reply to nothing"),
    "a system message in the middle": (
        talk("ua", "ab", "sc", "ud", "ae"),
        "d.jsonl:2: message 3 (system) comes after others",
    ),
    "a tool that nobody called": (
        talk("ua", "t5", "ab"),
        "d.jsonl:2: message 2 (tool) is of a tool that nobody has called",
    ),
    "no reply": (talk("uab"), "d.jsonl:2: it has no reply to learn from"),
    "a user at the end": (talk("uab", "aba", "uc"), "d.jsonl:2: it ends with a message of the user"),
    "invalid UTF-8": (b'{"messages": "\xff"}\n', "d.jsonl:2: byte 15 (0xff) is not UTF-8"),
    "half a row": (b'{"messages": [\n', "d.jsonl:2: this is no JSON"),
    "a list for a row": (
        b"[1, 2]\n",
        "d.jsonl:2: a row is a mapping of columns to values, and this is a list",
    ),
    "a number for a text": (
        json.dumps({"messages": [{"role": "user", "content": 7}, TALK[1]]}).encode() + b"\n",
        "d.jsonl:2: the content of message 1 of messages is a int: 7, not text",
    ),
    "a role that is none": (
        json.dumps({"messages": [{"role": "usr", "content": "a"}, TALK[1]]}).encode() + b"\n",
        "d.jsonl:2: message 1 of messages has the role 'usr'",
    ),
    "an image": (
        json.dumps({"messages": [{"role": "user", "content": [{"type": "image_url"}]}, TALK[1]]}).encode()
        + b"\n",
        "d.jsonl:2: message 1 of messages has a part image_url",
    ),
    "10 MB": (
        talk("u" + "a" * 10_000_000, "ab"),
        "d.jsonl:2: it has 10,000,0",
    ),
    "a missing column": (
        b'{"other": 1}\n',
        "d.jsonl:2: it has no column 'messages', which messages needs; it has other",
    ),
    "two formats": (
        b'{"instruction": "a", "output": "b"}\n',
        "d.jsonl:2: it looks like alpaca (instruction, output), and the file is messages",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_row_that_cannot_be_used_is_refused_by_file_and_row(examine, tmp_path, fault):
    """Two good rows around it change nothing; `bad_rows: leave_out` continues, and reports it."""
    row, words = FAULTS[fault]
    files = {"d.jsonl": GOOD + row + talk("uxy", "ayx")}
    assert words in examine(files)
    told = examine(files, args={"bad_rows": "leave_out"})
    assert "bad_rows: 1 train row cannot be read and left out" in told
    assert words.partition("; ")[0] in told


def test_all_bad_rows_are_named_at_once(examine):
    """A user who corrects one row must not meet the next one only then."""
    told = examine({"d.jsonl": GOOD + b"{\n" + talk("uab") + GOOD})
    assert "2 rows cannot be used" in told
    assert "d.jsonl:2" in told
    assert "d.jsonl:3" in told


@pytest.mark.slow
def test_what_can_be_read_and_is_odd_is_a_warning_with_the_row(examine):
    """Byte order mark, CRLF, an invisible character, an empty reply, a repeated row."""
    rows = [GOOD, talk("ua\r\nb", "aba"), talk("uz\u200bz", "aba"), talk("ue", "a "), GOOD]
    told = examine({"d.jsonl": b"\xef\xbb\xbf" + b"".join(rows)})
    assert "byte_order_mark: a byte order mark, which is skipped, at the beginning of 1 file: d.jsonl" in told
    assert "in the text of 1 train row: d.jsonl:2" in told
    assert "in the text of 1 train row: d.jsonl:3 (U+200B)" in told
    assert (
        "empty_answer: an empty reply, so that the model would learn to say nothing, in 1 train row: d.jsonl:4"
        in told
    )
    assert "in 1 train row: d.jsonl:5, as d.jsonl:1" in told


def test_crlf_line_ends_of_the_file_itself_are_nothing_to_learn(examine):
    """JSON has blanks around its values."""
    assert "carriage" not in examine(
        {"d.jsonl": GOOD.replace(b"\n", b"\r\n") + talk("uxy", "ayx").replace(b"\n", b"\r\n")}
    )


def test_a_number_as_text_is_told_by_column_and_row(examine):
    """The rarer of two types is the last that is named."""
    rows = [{"question": "a", "answer": 1}, {"question": "b", "answer": 2}, {"question": "c", "answer": "3"}]
    told = examine({"d.jsonl": b"".join(json.dumps(one).encode() + b"\n" for one in rows)})
    assert (
        "mixed_types: the column 'answer' of train holds numbers in 2 (first: d.jsonl:1), text in 1 (first: d.jsonl:3)"
        in told
    )


def test_an_id_that_comes_twice_is_refused_with_both_rows(examine):
    """Two runs are paired by it."""
    assert "d.jsonl:2: its id '1' is that of d.jsonl:1" in examine(
        {"d.jsonl": talk("ua", "ab", id=1) + talk("uc", "ad", id="1")}
    )


def test_a_cut_answer_and_a_row_without_any_answer_left_are_named(examine):
    told = examine(
        {"d.jsonl": GOOD + talk("uab", "a" + "b" * 90) + talk("u" + "c" * 90, "ad")}, max_length=40
    )
    assert "2 of 3 train samples are longer than training.max_length = 40" in told
    assert (
        "(first: d.jsonl:2, d.jsonl:3); 1 had nothing left to learn and were dropped (first: d.jsonl:3)"
        in told
    )


def test_a_train_row_in_the_eval_file_is_named_with_both_places(examine):
    files = {"d.jsonl": GOOD + talk("uxy", "ayx"), "e.jsonl": talk("uq", "aq") + talk("uxy", "axx")}
    told = examine(files, args={"eval_data": "e.jsonl"}, eval_steps=1)
    assert "overlap: 1 of 2 prompts of the eval split are also in train: e.jsonl:2, as d.jsonl:2" in told
    assert "overlap" in examine(files, args={"eval_data": "e.jsonl"}, job="eval")


def test_an_identical_pair_is_named(examine):
    told = examine({"p.jsonl": pair("a", "b", "c") + pair("d", "e", "e")}, job="dpo")
    assert "1 of 2 train pairs have the same chosen and rejected answer" in told
    assert "sample p.jsonl:2" in told


def test_pairs_are_refused_by_sft_and_rows_without_pairs_by_dpo(examine):
    assert "p.jsonl:1: it is a pair of answers, which DPO learns from" in examine(
        {"p.jsonl": pair("a", "b", "c")}
    )
    assert "d.jsonl:1: it has no pair of answers" in examine({"d.jsonl": GOOD}, job="dpo")


def test_tenyson_data_names_the_same_rows_and_exits_with_1(tmp_path):
    (tmp_path / "d.jsonl").write_bytes(b"\xef\xbb\xbf" + GOOD + b'{"messages": "\xff"}\n' + GOOD)
    command = [sys.executable, "-m", "tenyson", "data", "d.jsonl"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "d.jsonl: 2 rows, format messages; SFT learns every reply of the assistant" in done.stdout
    assert "error: d.jsonl:2: byte 15 (0xff) is not UTF-8" in done.stdout
    assert "warning: byte_order_mark" in done.stdout
    assert "in 1 train row: d.jsonl:3, as d.jsonl:1" in done.stdout
    found = json.loads(
        subprocess.run([*command, "--json"], cwd=tmp_path, capture_output=True, text=True, check=False).stdout
    )
    assert (found["rows"], found["bad_rows"]) == (2, 1)
    assert [one["check"] for one in found["findings"]] == ["byte_order_mark", "duplicates"]
