"""The task as jobs use it: games of the real textarena, dealt, played and scored."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from typing import Any

import pytest

from tenyson.errors import ConfigError, TaskError
from tenyson.tasks import Rollout, Sample, TaskPlugin
from tenyson.tasks.load import load_task, presets_of
from tenyson.testing.tasks import TaskContract
from tenyson_textarena.environment import GameEnvironment
from tenyson_textarena.task import TextArenaTask
from tenyson_textarena.worker.client import worker

NIM = {"env": "Nim-v0", "env_args": {"piles": [1, 2, 2]}}
SMALL = {"train_size": 8, "eval_size": 4}


def play(task: TaskPlugin, sample: Sample, replies: list[str]) -> Rollout:
    """A rollout of these replies, as the engines play one."""
    environment: Any = task.environment(sample)
    environment.reset()
    messages = []
    try:
        for reply in replies:
            messages.append({"role": "assistant", "content": reply})
            answer = environment.step(reply)
            if answer.done:
                break
            messages += answer.messages
        return Rollout(sample, messages, info=environment.info())  # type: ignore[arg-type]
    finally:
        environment.close()


def first(task: TaskPlugin, split: str = "train") -> Sample:
    return next(iter(task.rl_samples(split, 0)))


class TestOnePlayer(TaskContract):
    """What every task promises."""

    @pytest.fixture
    def task(self) -> TaskPlugin:
        return TextArenaTask(env="TowerOfHanoi-v0", **SMALL)


class TestTwoPlayers(TaskContract):
    """The same with an opponent."""

    @pytest.fixture
    def task(self) -> TaskPlugin:
        return TextArenaTask(**NIM, **SMALL)


class TestSelfPlay(TaskContract):
    """And against itself, which an agent plays."""

    @pytest.fixture
    def task(self) -> TaskPlugin:
        return TextArenaTask(**NIM, opponent="self", **SMALL)


def test_a_game_of_one_player_is_played_to_its_end() -> None:
    """Three disks of Hanoi in seven moves are worth 1."""
    task = TextArenaTask(env="TowerOfHanoi-v0", **SMALL)
    moves = ["[A C]", "[A B]", "[C B]", "[A C]", "[B A]", "[B C]", "[A C]"]
    rollout = play(task, first(task), moves)
    assert rollout.info["reward"] == 1
    assert rollout.info["opponent_reward"] is None
    assert {reward.name: reward(rollout) for reward in task.rewards()} == {"game": 1.0, "invalid": 0.0}
    found = task.metrics([rollout])
    assert found["won"].value == found["finished"].value == 1


def test_the_opponent_answers_and_the_model_sees_its_move() -> None:
    """What the model said itself is not shown to it again."""
    task = TextArenaTask(env="TicTacToe-v0", seat="first", **SMALL)
    rollout = play(task, first(task), ["I take the middle: [4]"])
    shown = rollout.messages[1]["content"]
    assert "Player 1 placed their symbol" in shown
    assert "Available Moves" in shown
    assert "I take the middle" not in shown
    assert "You are Player 0" not in shown


def test_the_second_seat_sees_the_first_move_of_the_opponent() -> None:
    """The opening is the sample's prompt."""
    task = TextArenaTask(env="TicTacToe-v0", seat="second", **SMALL)
    opening = first(task).prompt[-1]["content"]
    assert "You are Player 1" in opening
    assert "Player 0 placed their symbol" in opening


def test_both_seats_are_taken_in_turn() -> None:
    """Half of the samples each."""
    task = TextArenaTask(**NIM, train_size=10, eval_size=4)
    assert [sample.data["seat"] for sample in task.rl_samples("train", 0)] == [0, 1] * 5


def test_the_same_seed_and_replies_are_the_same_game_for_every_rollout_of_a_group() -> None:
    """Also while other games draw random numbers in between."""
    task = TextArenaTask(env="PigDice-v0", seat="first", **SMALL)
    sample = first(task)
    alone = play(task, sample, ["[roll]", "[hold]", "[roll]", "[hold]"])

    def again(_: int) -> Any:
        return play(task, sample, ["[roll]", "[hold]", "[roll]", "[hold]"]).messages

    with ThreadPoolExecutor(8) as pool:
        assert all(messages == alone.messages for messages in pool.map(again, range(16)))


@pytest.mark.slow
def test_a_worker_that_is_killed_in_the_middle_of_a_game_is_replaced() -> None:
    """The game is played again from its replies, and continues where it was."""
    task = TextArenaTask(env="PigDice-v0", seat="first", **SMALL)
    sample = first(task)
    whole = play(task, sample, ["[roll]", "[hold]", "[roll]"]).messages
    environment: Any = task.environment(sample)
    environment.reset()
    answers = []
    for reply in ("[roll]", "[hold]", "[roll]"):
        pid = worker().process.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        answers.append(environment.step(reply).content)
    environment.close()
    assert answers == [message["content"] for message in whole if message["role"] == "user"]


def test_an_invalid_move_is_data() -> None:
    """textarena lets one pass; after the next the game is lost."""
    task = TextArenaTask(**NIM, seat="first", **SMALL)
    rollout = play(task, first(task), ["take all", "\ud800 [9 9]", "[0 1]"])
    assert "invalid move" in rollout.messages[1]["content"]
    assert (rollout.info["reward"], rollout.info["opponent_reward"]) == (-1, 1)
    assert rollout.info["invalid"]
    assert len(rollout.messages) == 3


@pytest.mark.slow
def test_a_game_that_raises_on_a_reply_counts_it_as_an_invalid_move() -> None:
    """ "[١ 1]" is digits to a regular expression and to int, so Nim takes it; a broken game is planted instead."""
    task = TextArenaTask(**NIM, seat="first", **SMALL)
    sample = first(task)
    setup = asdict(task.options.setup(sample.data["seed"], 0))
    code = (
        "import json, sys\n"
        "from tenyson_textarena.worker.match import Match\n"
        "match = Match(json.loads(sys.argv[1]))\n"
        "match._env.step = lambda reply: 1 / 0\n"
        "match.take('[0 1]')\n"
        "print(json.dumps(match.over))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(setup)], capture_output=True, text=True, check=True
    )
    over = json.loads(done.stdout.splitlines()[-1])
    assert over["reward"] == -1
    assert over["raised"] == "ZeroDivisionError: division by zero"


def test_a_game_that_was_broken_off_is_worth_what_the_settings_say() -> None:
    """`info` says that it was not finished."""
    task = TextArenaTask(**NIM, seat="first", unfinished=-0.5, **SMALL)
    rollout = play(task, first(task), ["[1 1]"])
    assert rollout.info["reward"] is None
    assert task.rewards()[0](rollout) == -0.5
    assert task.metrics([rollout])["finished"].value == 0


def test_tags_hold_the_move_where_they_are_asked_for() -> None:
    """A model that thinks aloud names many moves."""
    task = TextArenaTask(**NIM, seat="first", answer="tags", **SMALL)
    sample = first(task)
    assert sample.prompt[0]["role"] == "system"
    good = play(task, sample, ["[0 9] is too many. <answer>[1 1]</answer>"])
    bad = play(task, sample, ["[1 1]"])
    assert "Player 0 removes 1 from pile 1" in good.messages[1]["content"]
    assert "invalid move" in bad.messages[1]["content"]


def test_the_scripted_opponent_makes_its_first_legal_move() -> None:
    """The moves may be the user's own."""
    task = TextArenaTask(
        env="TicTacToe-v0", seat="second", opponent="scripted", moves=["[4]", "[0]", "[8]"], **SMALL
    )
    rollout = play(task, first(task), ["[1]", "[2]"])
    assert "cell 4." in first(task).prompt[-1]["content"]
    assert "(O) in cell 0." in rollout.messages[1]["content"]


def test_with_self_play_each_seat_is_told_of_its_own_hand_only() -> None:
    """The opening is that of the sample's seat, whoever moves first; SFT samples are games against random moves."""
    task = TextArenaTask(env="KuhnPoker-v0", opponent="self", **SMALL)
    for sample in task.rl_samples("train", 0):
        opening = sample.prompt[-1]["content"]
        assert f"You are Player {sample.data['seat']} in" in opening
        assert len(set(re.findall(r"Your card is: '(.)'", opening))) == 1
        assert task.environment(sample) is None
    samples = list(TextArenaTask(**NIM, opponent="self", train_size=20, eval_size=4).sft_samples("train", 0))
    against_random = TextArenaTask(**NIM, train_size=20, eval_size=4).sft_samples("train", 0)
    assert [one.completion for one in samples] == [one.completion for one in against_random]


def test_sft_samples_are_won_games() -> None:
    """Each ends with the move that wins, and its replies are legal."""
    task = TextArenaTask(**NIM, train_size=20, eval_size=4)
    samples = list(task.sft_samples("train", 0))
    assert 3 < len(samples) < 20
    for sample in samples:
        replies = [one["content"] for one in sample.completion if one["role"] == "assistant"]
        assert play(task, sample, replies).info["reward"] == 1


def test_the_random_state_of_the_caller_is_left_alone() -> None:
    """textarena seeds Python's global generator at every reset."""
    random.seed(1)
    before = random.getstate()
    task = TextArenaTask(env="PigDice-v0", **SMALL)
    play(task, first(task), ["[roll]"])
    assert random.getstate() == before


def test_samples_are_json_and_their_ids_say_the_game() -> None:
    """They are the same in another task object."""
    one, other = (TextArenaTask(**NIM, **SMALL) for _ in range(2))
    samples = list(one.rl_samples("train", 0))
    assert samples == list(other.rl_samples("train", 7))
    assert all(sample.id.startswith("Nim-v0/train/") for sample in samples)
    for sample in samples:
        assert json.loads(json.dumps(asdict(sample)))["data"] == sample.data
    assert not {sample.data["seed"] for sample in samples} & {
        sample.data["seed"] for sample in one.eval_samples("eval", 0)
    }


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"env": "TicTacTo-v0"}, "task.args.env: .*did you mean TicTacToe-v0"),
        ({"env": "TwentyQuestions-v0"}, "cannot be played offline: it asks a model"),
        ({"env": "Taboo-v0"}, "neither one player nor two"),
        ({"env": "Nim-v0", "env_args": {"pile": 3}}, "unexpected keyword argument 'pile'"),
        ({"env": "TowerOfHanoi-v0", "opponent": "random"}, "one player, so opponent would have no effect"),
        ({"env": "Nim-v0", "moves": ["[9 9]"]}, "none of 1 moves is legal: give task.args.moves"),
        ({"env": "Nim-v0", "opponent": "self", "moves": ["[0 1]"]}, "the model moves for its opponent"),
        ({"env_args": {"piles": [1]}}, "env_args belong to env"),
        ({"evn": "Nim-v0"}, "task.args.evn: .*did you mean task.args.env"),
    ],
)
def test_a_wrong_argument_is_named_with_its_key(arguments: dict[str, Any], says: str) -> None:
    """From the configuration and from Python alike."""
    with pytest.raises(ConfigError, match=says):
        load_task("textarena", arguments)
    with pytest.raises(ConfigError, match=says):
        TextArenaTask(**arguments)


def test_without_a_game_there_are_presets_but_no_samples() -> None:
    """`tenyson run --task textarena` builds the task bare to see its presets."""
    task = load_task("textarena", {})
    assert list(presets_of(task)) == ["tiny"]
    with pytest.raises(TaskError, match=r"Set task\.args\.env"):
        list(task.rl_samples("train", 0))
    with pytest.raises(TaskError, match="no split 'test'"):
        list(TextArenaTask(**NIM).rl_samples("test", 0))


@pytest.mark.slow
def test_no_game_reaches_the_network_nor_the_environment_of_the_trainer() -> None:
    """Connections raise in the worker, and its variables are a list of names."""
    code = (
        "import os\n"
        "from pathlib import Path\n"
        "from tenyson_textarena.worker.client import worker\n"
        "worker().names()\n"
        "print(b'SECRET' in Path(f'/proc/{worker().process.pid}/environ').read_bytes())"
    )
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={"SECRET": "x", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert said.strip() == "False"
    code = (
        "import socket\n"
        "from tenyson_textarena.worker.offline import forbid_network\n"
        "forbid_network()\n"
        "socket.create_connection(('127.0.0.1', 9))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "games are played offline" in done.stderr


@pytest.mark.slow
def test_neither_the_task_nor_its_module_imports_textarena() -> None:
    """It takes openai, nltk and a second, all of it in the worker."""
    code = (
        "import sys\n"
        "from tenyson_textarena.task import TextArenaTask\n"
        "TextArenaTask(env='Nim-v0')\n"
        "print([name for name in ('textarena', 'openai', 'nltk', 'torch') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        *("Breakthrough-v0-tiny", "ConnectFour-v0", "KuhnPoker-v0", "IteratedPrisonersDilemma-v0"),
        *("Othello-v0-tiny", "PigDice-v0-50", "SimpleTak-v0", "Snake-v0", "TicTacToe-v0", "Nim-v0"),
    ],
)
def test_the_opponent_knows_legal_moves_of_many_games(name: str) -> None:
    """A game of random moves on both sides comes to an end, although the user names no moves."""
    task = TextArenaTask(env=name, **SMALL)
    for sample in islice(task.rl_samples("train", 0), 2):
        setup = task.options.setup(sample.data["seed"], sample.data["seat"])
        assert worker().demonstrate(setup).keys() == {"turns"}
        assert isinstance(task.environment(sample), GameEnvironment)
