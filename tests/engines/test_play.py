"""Conversations are played together, turn by turn, and keep the tokens that the model wrote."""

from __future__ import annotations

import pytest

from tenyson.engines.engine import Reply
from tenyson.tasks import Environment, Message, Observation, Sample, TaskPlugin

pytestmark = pytest.mark.train

SAID: Message = {"role": "assistant", "content": "turn0"}


class Countdown(Environment):
    """Ends after `turns` replies."""

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.heard: list[str] = []

    def step(self, reply: str) -> Observation:
        self.heard.append(reply)
        return Observation(f"{self.turns - len(self.heard)}", done=len(self.heard) == self.turns)

    def info(self):
        return {"heard": self.heard}


class CountdownTask(TaskPlugin):
    """Each sample says how many turns it takes."""

    def environment(self, sample: Sample) -> Environment:
        return Countdown(sample.data["turns"])


def sample(turns: int) -> Sample:
    return Sample(id=str(turns), prompt=[{"role": "user", "content": "go"}], data={"turns": turns})


@pytest.fixture(scope="module")
def renderer(tmp_path_factory):
    from transformers import AutoTokenizer

    from tenyson.engines.renderers import Renderer
    from tenyson.testing.tiny import build

    directory = tmp_path_factory.mktemp("tiny")
    build(directory, 0)
    return Renderer(AutoTokenizer.from_pretrained(directory))


def speaker(renderer, calls, finish="stop"):
    """An engine that says which turn it is, and records how many prompts came together."""

    def generate(prompts, turn):
        calls.append(len(prompts))
        ids = renderer.reply(f"turn{turn}")
        return [Reply(ids if finish == "stop" else ids[:-1], finish, [-0.5] * len(ids)) for _ in prompts]

    return generate


def test_games_of_different_length_are_played_together(renderer):
    """One call of the engine for each turn, holding only the games that still go on."""
    from tenyson.engines.play import play

    calls: list[int] = []
    games = play(
        CountdownTask(), [sample(1), sample(3), sample(2)], renderer, speaker(renderer, calls), max_turns=9
    )
    assert calls == [3, 2, 1]
    assert [len(game.rollout.replies) for game in games] == [1, 3, 2]
    assert games[1].rollout.info == {"heard": ["turn0", "turn1", "turn2"]}


def test_the_environments_tokens_are_masked_and_carry_no_logprob(renderer):
    """Only what the model wrote is trained on."""
    from tenyson.engines.play import play

    [game] = play(CountdownTask(), [sample(2)], renderer, speaker(renderer, []), max_turns=9)
    written = [token for token, wrote in zip(game.completion_ids, game.mask, strict=True) if wrote]
    assert renderer.raw(written) == "turn0<eos>turn1<eos>"
    assert renderer.raw(game.completion_ids) == "turn0<eos><user>1<model>turn1<eos>"
    assert [score for score, wrote in zip(game.logprobs, game.mask, strict=True) if not wrote] == [0.0] * 3
    assert game.rollout.tokens == len(written)


def test_a_game_that_does_not_end_is_cut_off_at_the_turn_limit(renderer):
    """An environment that never says done must not hold up the batch."""
    from tenyson.engines.play import play

    [game] = play(CountdownTask(), [sample(99)], renderer, speaker(renderer, []), max_turns=4)
    assert game.rollout.finish_reason == "turns"
    assert game.rollout.messages[-1] == {"role": "assistant", "content": "turn3"}


def test_a_reply_cut_by_its_token_limit_is_closed_and_the_game_goes_on(renderer):
    """The end of turn that the model did not write is the environment's, so it is masked."""
    from tenyson.engines.play import play

    [game] = play(CountdownTask(), [sample(2)], renderer, speaker(renderer, [], finish="length"), max_turns=9)
    assert renderer.raw(game.completion_ids) == "turn0<eos><user>1<model>turn1"
    assert game.mask[5] == 0
    assert game.rollout.truncated


def test_an_engine_without_logprobs_leaves_them_out(renderer):
    """Made-up numbers would enter the importance ratio of GRPO."""
    from tenyson.engines.play import play

    def generate(prompts, turn):
        return [Reply(renderer.reply("x"), "stop") for _ in prompts]

    [game] = play(CountdownTask(), [sample(2)], renderer, generate, max_turns=9)
    assert game.logprobs is None


def test_what_one_conversation_adds_to_an_answer_does_not_reach_another(renderer):
    """Equal answers are rendered once; each conversation has ids of its own."""
    first = renderer.between(SAID, Observation("3").messages)
    expected = list(first)
    first.append(0)
    assert renderer.between(SAID, Observation("3").messages) == expected
    assert renderer.between(SAID, Observation("3").messages, ended=False) != expected
    assert renderer.between(SAID, Observation("4").messages) != expected
