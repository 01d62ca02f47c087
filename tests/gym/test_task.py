"""The task as jobs use it: samples, splits, mixtures, rewards, metrics."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict
from typing import Any

import pytest

from tenyson.errors import ConfigError, TaskError
from tenyson.tasks import Rollout, Sample, TaskPlugin
from tenyson.tasks.load import load_task, presets_of
from tenyson.testing.tasks import TaskContract
from tenyson_reasoning_gym.task import ReasoningGymTask

SUMS = {"dataset": "chain_sum", "dataset_args": {"max_terms": 2, "max_digits": 2}}


def say(sample: Sample, text: str) -> Rollout:
    return Rollout(sample, [{"role": "assistant", "content": text}])


def scores(task: TaskPlugin, rollout: Rollout) -> dict[str, float | None]:
    return {reward.name: reward(rollout) for reward in task.rewards()}


class TestOneDataSet(TaskContract):
    """What every task promises."""

    @pytest.fixture
    def task(self) -> TaskPlugin:
        return ReasoningGymTask(**SUMS, train_size=120, eval_size=40)


class TestMixtureWithLevels(TaskContract):
    """The same of a mixture and a curriculum."""

    @pytest.fixture
    def task(self) -> TaskPlugin:
        return ReasoningGymTask(
            datasets={"chain_sum": 2, "gcd": {"weight": 1}},
            curriculum={"last": 2},
            train_size=90,
            eval_size=30,
        )


def test_the_name_alone_finds_the_task() -> None:
    """As `--task reasoning-gym` does."""
    task = load_task("reasoning-gym", SUMS)
    assert isinstance(task, ReasoningGymTask)
    assert list(task.sources) == ["chain_sum"]


@pytest.mark.slow
def test_samples_are_the_same_in_another_process_with_another_hash_seed() -> None:
    """isomorphic_strings takes letters out of sets, and their order follows the hash seed; runs are paired by id."""
    code = (
        "from tenyson_reasoning_gym.task import ReasoningGymTask\n"
        "task = ReasoningGymTask(datasets={'isomorphic_strings': 1, 'list_functions': 1}, train_size=8, eval_size=4)\n"
        "print([(s.id, s.prompt[-1]['content']) for s in task.rl_samples('train', 0)])"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert "isomorphic_strings/" in said[0]


def test_the_random_state_of_the_caller_is_left_alone() -> None:
    """pool_matrix seeds numpy's global state, and list_functions draws from Python's; both happen elsewhere."""
    import random

    import numpy

    random.seed(1)
    numpy.random.seed(1)
    before = random.getstate(), numpy.random.get_state()[1].tolist()
    task = ReasoningGymTask(datasets={"pool_matrix": 1, "list_functions": 1}, train_size=4, eval_size=2)
    assert list(task.rl_samples("train", 0))
    assert (random.getstate(), numpy.random.get_state()[1].tolist()) == before


@pytest.mark.slow
def test_training_has_no_question_of_evaluation_even_where_there_are_few() -> None:
    """Two summands of one digit make 190 questions, so two ranges of indices share many."""
    task = ReasoningGymTask(
        dataset="chain_sum", dataset_args={"max_terms": 2, "max_digits": 1}, train_size=500, eval_size=100
    )
    train = [sample.prompt[-1]["content"] for sample in task.rl_samples("train", 0)]
    held_out = [sample.prompt[-1]["content"] for sample in task.eval_samples("eval", 0)]
    assert len(held_out) == len(set(held_out)) < 100
    assert 0 < len(train) < 500
    assert not set(train) & set(held_out)


def test_evaluation_that_takes_all_questions_leaves_nothing_to_train_on() -> None:
    """It is said, with what to change."""
    task = ReasoningGymTask(
        dataset="spell_backward",
        dataset_args={"min_word_len": 3, "max_word_len": 3},
        train_size=4,
        eval_size=5000,
    )
    with pytest.raises(TaskError, match="all questions of the train split") as error:
        list(task.rl_samples("train", 0))
    assert "eval_size" in str(error.value)


def test_samples_are_json_though_entries_are_not() -> None:
    """base_conversion's metadata hold tuples; what its scorer needs stays with the generator."""
    task = ReasoningGymTask(dataset="base_conversion", train_size=2, eval_size=1)
    for sample in task.rl_samples("train", 0):
        assert json.loads(json.dumps(asdict(sample)))["data"] == sample.data


def test_a_generator_without_answers_has_nothing_to_imitate() -> None:
    """Any valid colouring is right, and none is given."""
    task = ReasoningGymTask(dataset="graph_color", train_size=2, eval_size=1)
    assert list(task.rl_samples("train", 0))
    with pytest.raises(TaskError, match="nothing to imitate"):
        list(task.sft_samples("train", 0))


def test_the_answer_is_what_stands_in_the_last_tags() -> None:
    """As reasoning-gym's extract_answer finds it."""
    task = ReasoningGymTask(**SUMS, train_size=1, eval_size=1)
    sample = next(iter(task.eval_samples("eval", 0)))
    right = sample.data["answer"]
    replies = {
        f"I think.\n<answer> {right} </answer>": (1.0, 1.0),
        f"<answer>wrong</answer> no: <answer>\n{right}\n</answer>": (1.0, 1.0),
        f"<answer>{right}": (0.0, 0.0),
        right: (0.0, 0.0),
        "<answer></answer>": (0.0, 1.0),
    }
    for text, (accuracy, form) in replies.items():
        assert scores(task, say(sample, text)) == {"accuracy": accuracy, "format": form}, text


@pytest.mark.slow
def test_extraction_agrees_with_the_package() -> None:
    """Text by text, also where tags are nested, repeated or left open."""
    from reasoning_gym.utils import extract_answer

    from tenyson_reasoning_gym.answers import tagged

    parts = ("<answer>", "</answer>", " a ", "\n", "b")
    texts = ["".join(parts[(number // 5**place) % 5] for place in range(6)) for number in range(5**6)]
    assert all(tagged(text) == extract_answer(text) for text in texts)


def test_a_megabyte_of_opening_tags_is_read_at_once() -> None:
    """The package's own expression takes time that grows with the square."""
    import time

    from tenyson_reasoning_gym.answers import tagged

    began = time.monotonic()
    assert tagged("<answer>" * 125_000) is None
    assert tagged("<answer>" * 125_000 + "</answer>") is not None
    assert time.monotonic() - began < 2


def test_with_text_the_whole_reply_is_the_answer() -> None:
    """No system prompt and no reward for tags: what a small model from scratch needs."""
    task = ReasoningGymTask(**SUMS, train_size=1, eval_size=1, answer="text")
    sample = next(iter(task.sft_samples("train", 0)))
    assert [message["role"] for message in sample.prompt] == ["user"]
    assert sample.completion[0]["content"] == sample.data["answer"]
    assert scores(task, say(sample, f" {sample.data['answer']}\n")) == {"accuracy": 1.0}


@pytest.mark.parametrize(
    ("prompt", "begins"),
    [("direct", "Answer the question directly"), ("Say it.", "Say it."), (None, "Given a problem")],
)
def test_the_system_prompt_is_a_name_or_a_text(prompt: str | None, begins: str) -> None:
    """Names are those of reasoning-gym."""
    task = ReasoningGymTask(**SUMS, train_size=1, eval_size=1, system_prompt=prompt)
    system = next(iter(task.rl_samples("train", 0))).prompt[0]
    assert system["role"] == "system"
    assert system["content"].startswith(begins)


@pytest.mark.slow
def test_a_mixture_has_the_proportions_of_its_weights_and_metrics_by_data_set() -> None:
    """In every part of the list, so that a job that reads some of it has them too."""
    task = ReasoningGymTask(
        datasets={"chain_sum": {"weight": 3, "args": {"max_terms": 3}}, "gcd": 1},
        train_size=200,
        eval_size=40,
    )
    names = [sample.data["dataset"] for sample in task.rl_samples("train", 0)]
    assert names[:40].count("gcd") == 10
    held_out = list(task.eval_samples("eval", 0))
    rollouts = [
        say(one, f"<answer>{one.data['answer'] if one.data['dataset'] == 'gcd' else 'x'}</answer>")
        for one in held_out
    ]
    found = task.metrics(rollouts)
    number = sum(one.data["dataset"] == "gcd" for one in held_out)
    assert found["accuracy/gcd"].value == 1
    assert found["accuracy/gcd"].n == number
    assert found["accuracy/chain_sum"].value == 0
    assert found["accuracy"].value == pytest.approx(number / len(held_out))
    assert found["accuracy"].low < found["accuracy"].value < found["accuracy"].high
    assert found["format"].value == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"dataset": "chainsum"}, "task.args.dataset: .*did you mean chain_sum"),
        (
            {"dataset": "chain_sum", "dataset_args": {"max_term": 3}},
            "dataset_args: .*max_term: did you mean max_terms",
        ),
        (
            {"dataset": "chain_sum", "dataset_args": {"max_terms": 1}},
            "dataset_args: .*max_terms must be >= min_terms",
        ),
        ({"dataset": "chain_sum", "dataset_args": {"seed": 1}}, "dataset_args: .*task.args.seed"),
        ({"datasets": {"gcd": 1, "chain_sun": 2}}, "task.args.datasets: .*did you mean chain_sum"),
        ({"datasets": {"gcd": -1}}, "task.args.datasets.gcd.weight"),
        ({"dataset": "gcd", "datasets": {"lcm": 1}}, "give one of them"),
        ({"datasets": {"lcm": 1}, "dataset_args": {"x": 1}}, "dataset_args belong to dataset"),
        ({"dataset": "gcd", "trainsize": 3}, "task.args.trainsize: .*did you mean task.args.train_size"),
        ({"dataset": "composite"}, "no data set 'composite'"),
    ],
)
def test_a_wrong_argument_is_named_with_its_key(arguments: dict[str, Any], says: str) -> None:
    """From the configuration and from Python alike."""
    with pytest.raises(ConfigError, match=says):
        load_task("reasoning-gym", arguments)
    with pytest.raises(ConfigError, match=says):
        ReasoningGymTask(**arguments)


def test_without_a_data_set_there_are_presets_but_no_samples() -> None:
    """`tenyson run --task reasoning-gym` builds the task bare to see its presets."""
    task = load_task("reasoning-gym", {})
    assert presets_of(task)
    for samples in (task.rl_samples, task.eval_samples, task.sft_samples):
        with pytest.raises(TaskError, match=r"Set task\.args\.dataset"):
            list(samples("eval", 0))


def test_an_unknown_split_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(TaskError, match="no split 'test'"):
        list(ReasoningGymTask(**SUMS).eval_samples("test", 0))


def test_provenance_says_what_decides_the_entries() -> None:
    """The version, the data sets, and a hash that the seed and the arguments change."""
    first, again, other = (ReasoningGymTask(**SUMS, seed=seed).provenance() for seed in (1, 1, 2))
    assert first == again
    assert first["reasoning-gym"] == "0.1.25"
    assert first["datasets"] == "chain_sum"
    assert first["config_sha256"] != other["config_sha256"]


def test_the_presets_read_and_fit_the_settings() -> None:
    """The first runs without a GPU."""
    presets = presets_of(ReasoningGymTask)
    assert list(presets) == ["tiny", "qwen2.5-0.5b"]
    for preset in presets.values():
        for step in preset.steps:
            assert ReasoningGymTask(**step.config["task"]["args"]).sources
