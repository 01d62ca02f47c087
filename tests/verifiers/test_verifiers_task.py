"""The task as jobs use it, with the real verifiers in a virtual environment of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tenyson.engines.engine import Reply
from tenyson.engines.play import play
from tenyson.engines.rollouts.limits import Limits
from tenyson.errors import ConfigError, TaskError
from tenyson.tasks import Rollout, Sample, TaskPlugin
from tenyson.tasks.load import load_task
from tenyson.testing.tasks import TaskContract
from tenyson_verifiers.task import VerifiersTask

pytestmark = [pytest.mark.train, pytest.mark.slow]


@pytest.fixture
def arguments(verifiers_python: Path) -> dict[str, Any]:
    return {"env": "count_tasks", "python": str(verifiers_python), "train_size": 8, "eval_size": 4}


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from transformers import AutoTokenizer

    from tenyson.engines.renderers import Renderer
    from tenyson.testing.tiny import build

    directory = tmp_path_factory.mktemp("tiny")
    build(directory, 0)
    return Renderer(AutoTokenizer.from_pretrained(directory))


def played(task: VerifiersTask, renderer: Any, samples: list[Sample], text: str, **limits: Any) -> list[Any]:
    """The trajectories of a model that always says `text`."""

    def policy(prompts: list[list[int]], turn: int) -> list[Reply]:
        ids = renderer.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [Reply([*ids, renderer.turn_end_id], "stop", [-0.5] * (len(ids) + 1)) for _ in prompts]

    given = Limits(**{"step_seconds": 60, "retries": 0, **limits})
    return play(task, samples, renderer, policy, max_turns=4, limits=given)


def scores(task: TaskPlugin, rollout: Rollout) -> dict[str, float | None]:
    return {reward.name: reward(rollout) for reward in task.rewards()}


class TestContract(TaskContract):
    """What every task promises."""

    @pytest.fixture
    def task(self, arguments: dict[str, Any]) -> TaskPlugin:
        return VerifiersTask(**arguments)


def test_samples_are_the_tasks_of_the_environment(arguments: dict[str, Any]) -> None:
    """Evaluation has the first of them, training those after them, or both have arguments of their own."""
    task = VerifiersTask(**arguments)
    held_out, train = (list(task.rl_samples(split, 0)) for split in ("eval", "train"))
    assert [one.data["index"] for one in held_out] == [0, 1, 2, 3]
    assert [one.data["index"] for one in train] == list(range(4, 12))
    assert list(held_out[1].prompt) == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Say 1."},
    ]
    assert json.loads(json.dumps(asdict(train[0])))["data"] == train[0].data
    few = VerifiersTask(
        **arguments | {"eval_args": {"number": 2, "greeting": "Hi. "}, "env_args": {"number": 3}}
    )
    assert [one.prompt[-1]["content"] for one in few.eval_samples("eval", 0)] == ["Hi. Say 0.", "Hi. Say 1."]
    assert len(list(few.rl_samples("train", 0))) == 3


def test_a_harness_plays_against_the_endpoint_and_components_are_recorded(
    arguments: dict[str, Any], renderer: Any
) -> None:
    """Rewards with their weights, those with names of their own summed, metrics with weight 0."""
    task = VerifiersTask(**arguments)
    samples = list(task.eval_samples("eval", 0))[:2]
    one, other = played(task, renderer, samples, "I say 1")
    assert {reward.name: reward.weight for reward in task.rewards()} == {
        "said": 1.0,
        "keyed": 0.5,
        "other": 1.0,
        "length": 0.0,
    }
    assert scores(task, one.rollout) == {"said": 0.0, "keyed": None, "other": 0.5, "length": 7.0}
    assert scores(task, other.rollout) == {"said": 1.0, "keyed": None, "other": 0.5, "length": 7.0}
    assert renderer.raw(other.prompt_ids) == "<user>Be brief.<user>Say 1.<model>"
    assert renderer.raw(other.completion_ids) == "I say 1<eos>"
    assert sum(other.mask) == len(other.mask) == other.rollout.tokens
    found = task.metrics([one.rollout, other.rollout])
    assert found["reward"].value == 1.0
    assert found["truncated"].value == 0


def test_what_the_environment_breaks_costs_its_own_rollout_only(
    arguments: dict[str, Any], renderer: Any
) -> None:
    """A reward that raises; a process that ends is started again."""
    task = VerifiersTask(**arguments)
    samples = {one.data["index"]: one for one in task.rl_samples("train", 0)}
    samples |= {one.data["index"]: one for one in task.eval_samples("eval", 0)}
    raised, fine = played(task, renderer, [samples[3], samples[2]], "2")
    assert "verifiers: TaskError: " in raised.rollout.error.message
    assert "planted" in raised.rollout.error.message
    assert fine.rollout.error is None
    [died] = played(task, renderer, [samples[4]], "4")
    assert "the process that runs verifiers ended with code 5" in died.rollout.error.message
    [again] = played(task, renderer, [samples[6]], "6")
    assert scores(task, again.rollout)["said"] == 1.0


def test_an_episode_that_takes_too_long_is_cancelled(arguments: dict[str, Any], renderer: Any) -> None:
    """The runner has nothing left to do afterwards."""
    task = VerifiersTask(**arguments)
    slow = list(task.rl_samples("train", 0))[1]
    assert slow.data["index"] == 5
    began = time.monotonic()
    [late] = played(task, renderer, [slow], "5", step_seconds=6)
    assert late.rollout.error.kind == "TimeoutError"
    assert time.monotonic() - began < 40
    for _ in range(100):
        if not task._client.process.pending:
            return
        time.sleep(0.1)
    raise AssertionError("the episode was not cancelled")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"env": "no_such_tasks"}, "ModuleNotFoundError: taskset 'no_such_tasks' not found"),
        ({"env_args": {"numbers": 3}}, "ValidationError.*numbers"),
        ({"python": "/no/such/python"}, "/no/such/python cannot be run: No such file"),
        ({"python": sys.executable}, "verifiers does not start with .*No module named 'verifiers'"),
        ({"harness": "no_such_harness"}, "harness 'no_such_harness' not found"),
    ],
)
def test_an_environment_that_cannot_be_loaded_says_why(
    given: dict[str, Any], says: str, arguments: dict[str, Any]
) -> None:
    """Before any model is loaded, and with what to do."""
    with pytest.raises(TaskError, match=f"(?s){says}") as error:
        list(VerifiersTask(**arguments | given).rl_samples("train", 0))
    assert error.value.next_step or "harness" in says


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"environment": "x"}, "task.args.environment: unknown key"),
        ({"env": "x", "harness_args": {"a": 1}}, "harness_args belong to harness"),
        ({"env": "x", "agent_args": {"runtime": {}}}, "runtime of agent_args is a setting of its own"),
    ],
)
def test_a_wrong_argument_is_named_with_its_key(given: dict[str, Any], says: str) -> None:
    """From the configuration and from Python alike."""
    with pytest.raises(ConfigError, match=says):
        load_task("verifiers", given)
    with pytest.raises(ConfigError, match=says):
        VerifiersTask(**given)


def test_the_runner_ends_with_its_parent_and_has_no_secrets(arguments: dict[str, Any]) -> None:
    """Its variables are a list of names, and its pipe closes with a parent that is killed."""
    code = (
        "import json, os, signal, sys\n"
        "from pathlib import Path\n"
        "from tenyson_verifiers.task import VerifiersTask\n"
        "task = VerifiersTask(**json.loads(sys.argv[1]))\n"
        "task.rewards()\n"
        "runner = task._client.process.pid\n"
        "print(runner, b'SECRET' in Path(f'/proc/{runner}/environ').read_bytes(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        env={**os.environ, "SECRET": "x"},
        capture_output=True,
        text=True,
        check=False,
    ).stdout.split()
    assert said[1] == "False"
    for _ in range(150):
        if not Path(f"/proc/{said[0]}").exists():
            return
        time.sleep(0.1)
    raise AssertionError("the runner is still there")
