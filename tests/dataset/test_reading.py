"""Files of every kind and format say the same conversations; formats are recognised by columns, and shown."""

from __future__ import annotations

import csv
import gzip
import json

import pytest

from tenyson.errors import ConfigError, TaskError
from tenyson.tasks.load import load_task

ROWS = [{"question": f"{n} + 1?", "answer": f"{n + 1}", "level": n} for n in range(6)]


@pytest.fixture
def write(tmp_path):
    """Writes rows into a file of the kind that its name says; returns its path."""

    def to(name, rows=ROWS):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(json.dumps(one) + "\n" for one in rows)
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(text.encode()))
        elif name.endswith(".json"):
            path.write_text(json.dumps(rows, indent=1))
        elif name.endswith((".csv", ".tsv")):
            with path.open("w", newline="") as file:
                writer = csv.DictWriter(file, rows[0], delimiter="\t" if name.endswith("tsv") else ",")
                writer.writeheader()
                writer.writerows(rows)
        elif name.endswith(".parquet"):
            import pyarrow as pa
            from pyarrow.parquet import write_table

            write_table(pa.Table.from_pylist(rows), path)
        else:
            path.write_text(text)
        return str(path)

    return to


def samples(hook="sft_samples", split="train", **args):
    return list(getattr(load_task("dataset", args), hook)(split, 0))


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "a.jsonl.gz", "lines.json.gz"]
)
def test_every_kind_of_file_says_the_same(write, name):
    found = samples(data=write(name))
    assert [one.prompt for one in found] == [[{"role": "user", "content": one["question"]}] for one in ROWS]
    assert [one.completion[0]["content"] for one in found] == [one["answer"] for one in ROWS]
    # Of a CSV the header is line 1.
    first = 2 if name.endswith(("csv", "tsv")) else 1
    assert [one.id for one in found] == [f"{name}:{first + n}" for n in range(6)]


def test_a_folder_is_read_file_by_file(write, tmp_path):
    write("data/b.jsonl", ROWS[:2])
    write("data/a/x.csv", ROWS[2:])
    (tmp_path / "data" / "README.md").write_text("about")
    assert [one.id for one in samples(data=str(tmp_path / "data"))][:2] == [
        "data/a/x.csv:2",
        "data/a/x.csv:3",
    ]


CALL = {"id": "1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1, "b": 2}'}}
TOOL = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
FORMATS = {
    "messages": {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "r"}]},
    "sharegpt": {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "r"}]},
    "alpaca": {"instruction": "q", "input": "", "output": "r"},
    "completion": {"prompt": "q", "completion": "r"},
    "completion of messages": {
        "prompt": [{"role": "user", "content": "q"}],
        "completion": [{"role": "assistant", "content": "r"}],
    },
    "question and response": {"question": "q", "response": "r"},
    "answer": {"problem": "q", "solution": "r"},
}


@pytest.mark.parametrize("form", FORMATS)
def test_each_format_is_recognised_by_its_columns(write, form):
    (sample,) = samples(data=write("a.jsonl", [FORMATS[form]]))
    assert list(sample.prompt) == [{"role": "user", "content": "q"}]
    assert list(sample.completion) == [{"role": "assistant", "content": "r"}]
    (prompt,) = samples("rl_samples", data=write("a.jsonl", [FORMATS[form]]))
    assert list(prompt.prompt) == [{"role": "user", "content": "q"}]
    assert prompt.data["answer"] == "r"


def test_alpaca_keeps_input_history_and_system(write):
    row = {"instruction": "q", "input": "i", "output": "r", "history": [["a", "b"]], "system": "s"}
    (sample,) = samples(data=write("a.jsonl", [row]))
    assert [(one["role"], one["content"]) for one in sample.prompt] == [
        ("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "q\ni"),
    ]  # fmt: skip


def test_tools_calls_and_reasoning_are_kept(write):
    """Arguments as JSON text, as OpenAI writes them, become a mapping."""
    row = {
        "tools": json.dumps([TOOL]),
        "messages": [
            {"role": "developer", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "1+2?"}]},
            {"role": "assistant", "content": None, "reasoning_content": "I add.", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "1", "content": "3"},
            {"role": "assistant", "content": "3"},
        ],
    }
    (sample,) = samples(data=write("a.jsonl", [row]))
    assert [one["role"] for one in sample.prompt] == ["system", "user"]
    assert sample.completion[0]["tool_calls"][0]["function"] == {"name": "add", "arguments": {"a": 1, "b": 2}}
    assert sample.completion[0]["reasoning"] == "I add."
    assert [one["role"] for one in sample.completion] == ["assistant", "tool", "assistant"]
    assert sample.tools == [TOOL]


def test_function_calls_of_sharegpt_become_tool_calls(write):
    turns = [
        ("human", "1+2?"),
        ("function_call", '{"name": "add", "arguments": {"a": 1}}'),
        ("observation", "3"),
        ("gpt", "3"),
    ]
    row = {"conversations": [{"from": who, "value": said} for who, said in turns], "tools": "[]"}
    (sample,) = samples(data=write("a.jsonl", [row]))
    assert sample.completion[0]["tool_calls"][0]["function"] == {"name": "add", "arguments": {"a": 1}}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "q", "chosen": "b", "rejected": "w"},
        {"question": "q", "chosen": "b", "rejected": "w"},
        {
            "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}],
            "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "w"}],
        },
        {
            "prompt": "q",
            "chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "b"}],
            "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "w"}],
        },
    ],
    ids=["texts", "question", "a prompt in both", "a prompt beside both"],
)
def test_pairs_have_one_prompt_and_two_answers(write, row):
    (sample,) = samples("preference_samples", data=write("a.jsonl", [row]))
    assert [one["content"] for one in (*sample.prompt, *sample.chosen, *sample.rejected)] == ["q", "b", "w"]


def test_columns_are_mapped_by_name_and_by_template(write):
    rows = [{"ask": "1+1", "work": "so it is #### 2 "}]
    columns = {"prompt": "What is {{ ask }}?", "answer": "{{ work.split('####')[-1] | trim }}"}
    (sample,) = samples("rl_samples", data=write("a.jsonl", rows), columns=columns)
    assert sample.prompt[0]["content"] == "What is 1+1?"
    assert sample.data["answer"] == "2"
    assert sample.data["work"] == "so it is #### 2 "


def test_a_column_that_is_not_there_is_named_with_the_nearest(write):
    with pytest.raises(TaskError, match=r"there is no column 'qestion': did you mean question\?"):
        samples(data=write("a.jsonl"), columns={"prompt": "qestion"})


def test_columns_without_a_format_say_how_to_map_them(write):
    with pytest.raises(TaskError, match="the columns tell no format: text") as refused:
        samples(data=write("a.jsonl", [{"text": "once"}]))
    assert "--column prompt=COLUMN" in str(refused.value)


def test_a_filter_keeps_rows_for_which_it_is_true(write):
    found = samples(data={"path": write("a.jsonl"), "filter": "level > 3"})
    assert [one.id for one in found] == ["a.jsonl:5", "a.jsonl:6"]


def test_a_template_cannot_reach_python(write):
    """Templates come with configurations of others."""
    with pytest.raises(TaskError, match=r"a\.jsonl:1"):
        samples(
            data=write("a.jsonl"), columns={"prompt": "{{ question.__class__.__mro__[1].__subclasses__() }}"}
        )


def test_a_system_message_is_added_where_there_is_none(write):
    rows = [
        FORMATS["messages"],
        {"messages": [{"role": "system", "content": "own"}, *FORMATS["messages"]["messages"]]},
    ]
    found = samples(data=write("a.jsonl", rows), system="Be brief.")
    assert [one.prompt[0]["content"] for one in found] == ["Be brief.", "own"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "there is no data"),
        (
            {"data": "a.jsonl", "eval_fraction": 0.1, "eval_data": "b.jsonl"},
            "different ways to say what is held out",
        ),
        ({"data": "a.jsonl", "columns": {"promt": "q"}}, "promt is no field of a row: did you mean prompt?"),
        ({"data": "a.jsonl", "columns": {"prompt": "{{ q"}}, "cannot be read as Jinja"),
        ({"data": "a.jsonl", "rewards": ["exakt"]}, "there is no reward exakt: did you mean exact?"),
        (
            {"data": "a.jsonl", "rewards": [{"reward": "number", "tolerence": 1}]},
            "the reward number has no option tolerence",
        ),
        ({"data": "a.jsonl", "rewards": ["nowhere:f"]}, "the module nowhere cannot be imported"),
        ({"data": "a.jsonl", "dta": 1}, "did you mean task.args.data?"),
        (
            {"data": [{"path": "a.jsonl", "weight": 1}, {"path": "b.jsonl"}]},
            "give every source of data a weight, or none",
        ),
    ],
)
def test_a_wrong_setting_is_refused_by_name(args, words):
    from tenyson.config.load import parse_config
    from tenyson.plugins.manager import PluginManager
    from tenyson.plugins.settings import check_settings

    config = parse_config({"model": {"factory": "a:b"}, "task": {"name": "dataset", "args": args}})
    assert words in "\n".join(map(str, check_settings(config, PluginManager())))


def test_a_file_that_is_not_there_names_the_nearest(write, tmp_path):
    write("train.jsonl")
    with pytest.raises(TaskError, match="there is no such file or folder") as refused:
        samples(data=str(tmp_path / "trian.jsonl"))
    assert "train.jsonl?" in str(refused.value)


def test_settings_are_checked_when_the_task_is_built():
    with pytest.raises(ConfigError, match="bad_rows"):
        load_task("dataset", {"data": "a.jsonl", "bad_rows": "ignore"})
