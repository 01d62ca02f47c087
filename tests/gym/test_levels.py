"""A curriculum: levels rise with success, are kept in checkpoints, and decide what is played next."""

from __future__ import annotations

import json

import pytest

from tenyson.errors import TaskError
from tenyson.tasks import Rollout, Sample
from tenyson_reasoning_gym.task import ReasoningGymTask

RULES = {"last": 3, "up_at": 0.75, "down_at": 0.25, "rollouts": 8}


def made(**rules: object) -> ReasoningGymTask:
    return ReasoningGymTask(dataset="chain_sum", curriculum={**RULES, **rules}, train_size=40, eval_size=8)


def train(task: ReasoningGymTask, samples: list[Sample], right: float) -> list[Sample]:
    """A batch as RL plays it: all samples drawn, then all scored; `right` is the share that is solved."""
    drawn = [task.current_sample(sample) for sample in samples]
    for number, sample in enumerate(drawn):
        said = sample.data["answer"] if number < right * len(drawn) else "wrong"
        rollout = Rollout(sample, [{"role": "assistant", "content": f"<answer>{said}</answer>"}])
        for reward in task.rewards():
            reward(rollout)
    return drawn


def level(task: ReasoningGymTask) -> int:
    return int(task.state()["chain_sum"]["level"])


@pytest.mark.slow
def test_a_level_rises_falls_and_stays_with_the_share_of_solved_rollouts() -> None:
    """Where it stays, counting begins again."""
    task = made()
    samples = list(task.rl_samples("train", 0))[:8]
    played = [
        {sample.data["level"] for sample in train(task, samples, right)} for right in (1, 1, 0.5, 0, 0, 0, 0)
    ]
    assert played == [{0}, {1}, {2}, {2}, {1}, {0}, {0}]


def test_a_level_needs_enough_rollouts() -> None:
    """Seven of eight say nothing yet."""
    task = made()
    samples = list(task.rl_samples("train", 0))
    train(task, samples[:7], 1)
    assert train(task, samples[:1], 1)[0].data["level"] == 0
    assert train(task, samples[:1], 1)[0].data["level"] == 1


def test_the_last_level_is_the_last() -> None:
    """More success does not leave it."""
    task = made(last=1)
    samples = list(task.rl_samples("train", 0))[:8]
    assert [level(task) for _ in range(4) if train(task, samples, 1)] == [0, 1, 1, 1]


def test_levels_get_harder_and_every_sample_has_its_level_in_its_id() -> None:
    """chain_sum has a term more with each level."""
    task = made(range="upper_bound")
    sample = next(iter(task.rl_samples("train", 0)))
    terms = []
    for number in range(4):
        task.restore({"chain_sum": {"level": number, "rollouts": 0, "solved": 0}})
        drawn = task.current_sample(sample)
        assert f"level-{number}/" in drawn.id
        terms.append(len(drawn.prompt[-1]["content"].split(" + ")) + drawn.prompt[-1]["content"].count(" - "))
    assert terms == [2, 3, 4, 5]


def test_what_is_played_at_a_level_is_not_in_evaluation() -> None:
    """Whichever level its question belongs to there."""
    task = ReasoningGymTask(dataset="chain_sum", curriculum={"last": 1}, train_size=300, eval_size=100)
    held_out = {sample.prompt[-1]["content"] for sample in task.eval_samples("eval", 0)}
    played = {task.current_sample(sample).prompt[-1]["content"] for sample in task.rl_samples("train", 0)}
    assert played
    assert not played & held_out


def test_the_state_continues_in_a_new_task() -> None:
    """Through JSON, as checkpoints keep it."""
    task, again = made(), made()
    samples = list(task.rl_samples("train", 0))[:8]
    train(task, samples, 1)
    train(task, samples[:3], 1)
    again.restore(json.loads(json.dumps(task.state())))
    assert again.state() == task.state()
    assert [again.current_sample(one).id for one in samples] == [
        task.current_sample(one).id for one in samples
    ]


def test_evaluation_has_all_levels_and_moves_none() -> None:
    """It measures the same at every time, with a metric for each level."""
    task = made()
    before = task.state()
    rollouts = [
        Rollout(one, [{"role": "assistant", "content": f"<answer>{one.data['answer']}</answer>"}])
        for one in map(task.current_sample, task.eval_samples("eval", 0))
    ]
    found = task.metrics(rollouts)
    assert {f"accuracy/level_{number}" for number in range(4)} <= set(found)
    assert task.state() == before


def test_the_level_is_recorded_and_not_trained_on() -> None:
    """As a component of weight 0, which is in every rollout's row."""
    reward = next(one for one in made().rewards() if one.name == "level")
    sample = next(iter(made().rl_samples("train", 0)))
    assert reward.weight == 0
    assert reward(Rollout(sample, [])) == sample.data["level"]


def test_levels_end_where_the_package_refuses_its_own() -> None:
    """caesar_cipher's third level asks for a rotation of more than 25."""
    task = ReasoningGymTask(dataset="caesar_cipher", curriculum={}, train_size=4, eval_size=2)
    assert list(task.sources["caesar_cipher"].levels) == [0, 1]
    with pytest.raises(TaskError, match="level 2 of caesar_cipher cannot be made: rotation must be in range"):
        ReasoningGymTask(dataset="caesar_cipher", curriculum={"last": 2})


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"dataset": "chain_sum", "curriculum": {"last": 99}}, "levels 0 to 10"),
        ({"dataset": "chain_sum", "curriculum": {}, "dataset_args": {"max_terms": 7}}, "decides max_terms"),
        ({"dataset": "acre", "curriculum": {}}, "acre has no curriculum"),
        ({"dataset": "gcd", "curriculum": {"up_at": 0.5, "down_at": 0.6}}, "must be below up_at"),
    ],
)
def test_a_curriculum_that_cannot_be_is_refused(arguments: dict[str, object], says: str) -> None:
    """Before anything is loaded."""
    with pytest.raises(Exception, match=says) as error:
        ReasoningGymTask(**arguments)
    assert isinstance(error.value, TaskError | ValueError)
