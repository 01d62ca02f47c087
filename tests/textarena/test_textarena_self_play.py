"""Self-play over the endpoint: two conversations, of which one is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.fakes.policy import Policy

from tenyson.engines.play import play
from tenyson.engines.renderers import Renderer
from tenyson.engines.rollouts.limits import Limits
from tenyson.errors import ConfigError
from tenyson.jobs.eval import EvalJob
from tenyson_textarena.task import TextArenaTask

pytestmark = pytest.mark.train

NIM = {"env": "Nim-v0", "env_args": {"piles": [1, 2, 2]}, "opponent": "self", "train_size": 4}
WON = ("[1 2]", "[0 1]", "[2 2]")
"""Player 0 takes the last objects."""


@pytest.fixture(scope="module")
def renderer(tmp_path_factory: pytest.TempPathFactory) -> Renderer:
    from transformers import AutoTokenizer

    from tenyson.testing.tiny import build

    directory = tmp_path_factory.mktemp("tiny")
    build(directory, 0)
    return Renderer(AutoTokenizer.from_pretrained(directory))


def played(renderer: Renderer, *replies: str, turns: int = 8, context: int | None = None, **arguments: Any):
    """The rollout of the first sample, and what the model was shown for each reply."""
    task, policy = TextArenaTask(**NIM, **arguments), Policy(renderer, *replies)
    [sample] = list(task.rl_samples("train", 0))[:1]
    limits = Limits(step_seconds=20, context=context)
    [one] = play(task, [sample], renderer, policy, max_turns=turns, limits=limits)
    return task, one, [renderer.raw(prompt) for prompt in policy.prompts]


@pytest.mark.parametrize(("seat", "reward"), [("first", 1.0), ("second", -1.0)])
def test_one_seat_is_trained_and_the_other_is_recorded(renderer: Renderer, seat: str, reward: float) -> None:
    task, one, shown = played(renderer, *WON, seat=seat)
    mine = WON[::2] if seat == "first" else WON[1::2]
    assert [said["content"] for said in one.rollout.messages if said["role"] == "assistant"] == list(mine)
    trained = [token for token, flag in zip(one.completion_ids, one.mask, strict=True) if flag]
    assert renderer.raw(trained) == "".join(f"{move}<eos>" for move in mine)
    assert one.further == []
    [other] = one.rollout.info["further"]
    assert other["trained"] is False
    assert one.rollout.info["conversations"] == 2
    assert "Welcome to Nim, Player 0!" in shown[0]
    assert "Welcome to Nim, Player 1!" in shown[1]
    assert "[Player 0] [1 2]" in shown[1]
    assert "[Player 1] [0 1]" in shown[2]
    result = one.rollout.info["result"]
    assert (result["reward"], result["opponent_reward"], result["invalid"]) == (reward, -reward, False)
    assert [component(one.rollout) for component in task.rewards()] == [reward, 0.0]
    found = task.metrics([one.rollout])
    assert (found["won"].value, found["finished"].value) == (float(reward > 0), 1.0)


def test_an_invalid_move_of_the_other_seat_wins(renderer: Renderer) -> None:
    task, one, _ = played(renderer, "[1 2]", "no", "none", seat="first")
    assert [component(one.rollout) for component in task.rewards()] == [1.0, 0.0]
    task, one, _ = played(renderer, "[1 2]", "no", "none", seat="second")
    assert [component(one.rollout) for component in task.rewards()] == [-1.0, 1.0]


@pytest.mark.parametrize(("limit", "finish"), [({"turns": 2}, "turns"), ({"context": 330}, "length")])
def test_a_game_that_is_cut_off_is_worth_what_the_settings_say(
    renderer: Renderer, limit: dict[str, int], finish: str
) -> None:
    task, one, _ = played(renderer, "[0 9]", "[1 1]", "[1 1]", seat="first", unfinished=-0.5, **limit)
    assert (one.rollout.finish_reason, one.rollout.error) == (finish, None)
    assert task.rewards()[0](one.rollout) == -0.5
    assert task.metrics([one.rollout])["finished"].value == 0


def test_a_model_elsewhere_cannot_play_against_itself(tmp_path: Path) -> None:
    config = {
        "run": {"id": "eval", "output_dir": str(tmp_path)},
        "model": {"name": "any"},
        "generation": {"engine": "openai"},
        "endpoint": {"url": "http://127.0.0.1:9/v1"},
        "telemetry": {"sinks": ["jsonl"]},
    }
    with pytest.raises(ConfigError, match="an agent of the task plays its rollouts"):
        EvalJob(config, TextArenaTask(**NIM)).run()
