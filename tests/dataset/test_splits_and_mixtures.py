"""Which rows are trained on, and which are held out, follows from the rows alone."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tenyson.errors import TaskError
from tenyson.tasks import Rollout
from tenyson.tasks.load import load_task


@pytest.fixture
def write(tmp_path):
    def to(name, prompts, answer="x"):
        path = tmp_path / name
        path.write_text(
            "".join(
                json.dumps({"prompt": one, "completion": answer, "topic": one[0]}) + "\n" for one in prompts
            )
        )
        return str(path)

    return to


def ids(split="train", hook="sft_samples", **args):
    return [one.id for one in getattr(load_task("dataset", args), hook)(split, 0)]


def prompts(split="train", **args):
    return [one.prompt[0]["content"] for one in load_task("dataset", args).sft_samples(split, 0)]


def test_a_fraction_divides_the_rows_and_further_rows_move_none(write):
    some = [f"{n}" for n in range(2000)]
    data = write("a.jsonl", some)
    train, held_out = prompts(data=data, eval_fraction=0.1), prompts("eval", data=data, eval_fraction=0.1)
    assert sorted([*train, *held_out]) == sorted(some)
    assert 150 < len(held_out) < 250
    more = write("a.jsonl", ["new", *some[::-1], "newer"])
    assert set(held_out) <= set(prompts("eval", data=more, eval_fraction=0.1))
    assert set(train) <= set(prompts(data=more, eval_fraction=0.1))


def test_rows_of_one_prompt_or_one_key_are_on_one_side(write):
    data = write("a.jsonl", [f"{n}" for n in range(100)] * 3)
    train, held_out = (set(prompts(split, data=data, eval_fraction=0.3)) for split in ("train", "eval"))
    assert not train & held_out
    by_topic = [
        {one[0] for one in prompts(split, data=data, eval_fraction=0.3, eval_key="topic")}
        for split in ("train", "eval")
    ]
    assert not by_topic[0] & by_topic[1]


def test_an_evaluation_takes_what_is_held_out_else_all(write):
    data = write("a.jsonl", [f"{n}" for n in range(100)])
    assert len(ids("eval", "eval_samples", data=data)) == 100
    held_out = ids("eval", "eval_samples", data=data, eval_fraction=0.2)
    assert 5 < len(held_out) < 40
    assert ids("all", "eval_samples", data=data, eval_fraction=0.2) == ids(data=data)
    other = write("b.jsonl", ["q"])
    assert ids("eval", "eval_samples", data=data, eval_data=other) == ["b.jsonl:1"]


def test_a_training_without_held_out_rows_says_how_to_hold_some_out(write):
    with pytest.raises(TaskError, match="no rows are held out as the eval split"):
        ids("eval", data=write("a.jsonl", ["q"]))
    with pytest.raises(TaskError, match="there is no split 'test'"):
        ids("test", "eval_samples", data=write("a.jsonl", ["q"]))


def test_a_mixture_takes_rows_by_weight_and_the_same_each_time(write):
    parts = [
        {"path": write("a.jsonl", [f"a{n}" for n in range(300)]), "weight": 3},
        {"path": write("b.jsonl", [f"b{n}" for n in range(300)]), "weight": 1},
    ]
    found = prompts(data=parts)
    counts = Counter(one[0] for one in found)
    assert counts["a"] == 300  # it ends once the first source is used up
    assert 70 < counts["b"] < 130
    assert found == prompts(data=parts) != prompts(data=parts, seed=1)


def test_a_mixture_may_repeat_a_source_until_all_are_read(write):
    parts = [
        {"path": write("a.jsonl", ["a1", "a2"]), "weight": 1},
        {"path": write("b.jsonl", [f"b{n}" for n in range(20)]), "weight": 1},
    ]
    names = ids(data=parts, mixture="all_used_up")
    assert len(names) == len(set(names))
    assert {"a.jsonl:1", "a.jsonl:1#2", "b.jsonl:20"} <= set(names)


def test_sources_without_weights_are_read_one_after_the_other(write):
    assert ids(data=[write("b.jsonl", "xy"), write("a.jsonl", "z")]) == [
        "b.jsonl:1",
        "b.jsonl:2",
        "a.jsonl:1",
    ]


def scored(task, replies):
    return [
        Rollout(sample, [{"role": "assistant", "content": reply}])
        for sample, reply in zip(task.eval_samples("eval", 0), replies, strict=True)
    ]


def test_metrics_are_told_for_each_source_too(write):
    data = [
        write("a.jsonl", "pq", answer="yes"),
        {"path": write("b.jsonl", "rs", answer="no"), "name": "hard"},
    ]
    task = load_task("dataset", {"data": data, "rewards": ["exact"]})
    found = task.metrics(scored(task, ["yes", "yes", "no", "yes"]))
    assert {name: (one.value, one.n) for name, one in found.items()} == {
        "exact": (0.75, 4), "exact/a.jsonl": (1.0, 2), "exact/hard": (0.5, 2),
    }  # fmt: skip
    assert found["exact/a.jsonl"].low < 1 == found["exact/a.jsonl"].high  # Wilson's


def test_rewards_take_options_extractions_and_functions_of_ones_own(write, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "def shout(rollout):\n    return float(rollout.messages[-1]['content'].isupper())\n"
        "def longest(rollouts):\n    from tenyson.tasks import Metric\n"
        "    return {'longest': Metric.mean([max(len(one.messages[-1]['content']) for one in rollouts)])}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    rewards = [
        {"reward": "exact", "extract": {"after": "####"}, "name": "last"},
        {"reward": "mine:shout", "weight": 0.5},
    ]
    task = load_task(
        "dataset",
        {"data": write("a.jsonl", "p", answer="yes"), "rewards": rewards, "metrics": ["mine:longest"]},
    )
    assert [(one.name, one.weight) for one in task.rewards()] == [("last", 1.0), ("shout", 0.5)]
    found = task.metrics(scored(task, ["NO #### YES"]))
    assert [found[name].value for name in ("last", "shout", "longest")] == [1.0, 1.0, 11.0]
