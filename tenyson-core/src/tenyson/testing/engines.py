"""The contract of an engine: what evaluation and multi-turn RL rely on, as tests to subclass (needs pytest).

class TestMine(EngineContract):
    @pytest.fixture
    def engine(self):
        engine = MyEngine(EngineSpec(model="path/of/a/model"))
        yield engine
        engine.close()
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from tenyson.engines.engine import Engine, Reply, Sampling
from tenyson.errors import ConfigError


class EngineContract:
    """Subclass it as `Test...` and give the fixture `engine`."""

    prompts: ClassVar[Sequence[Sequence[int]]] = ([1, 2, 3], [4], [5, 6])
    """Token ids that the model knows, of unequal lengths and with different continuations."""
    tolerance: ClassVar[float] = 1e-3
    """How far log-probabilities (nats) of the same tokens in another batch may differ."""

    @pytest.fixture
    def engine(self) -> Engine:
        """The engine; closed after the test."""
        raise NotImplementedError("give a fixture `engine`")

    def test_it_has_a_name(self, engine: Engine) -> None:
        """Results and logs say by it what generated."""
        assert isinstance(engine.name, str)
        assert engine.name

    def test_every_prompt_gets_one_reply_in_order(self, engine: Engine) -> None:
        """Rollouts are matched with samples by their position."""
        together = self.greedy(engine, self.prompts)
        assert len(together) == len(self.prompts)
        alone = [self.greedy(engine, [prompt])[0] for prompt in self.prompts]
        assert [reply.ids[:1] for reply in together] == [reply.ids[:1] for reply in alone]

    def test_no_prompts_give_no_replies(self, engine: Engine) -> None:
        """All conversations of a batch may have ended."""
        assert engine.generate([], Sampling(max_new_tokens=4, temperature=0.0)) == []

    def test_it_leaves_the_prompts_as_they_are(self, engine: Engine) -> None:
        """They are recorded afterwards."""
        prompts = [list(prompt) for prompt in self.prompts]
        engine.generate(prompts, Sampling(max_new_tokens=2, temperature=0.0))
        assert prompts == [list(prompt) for prompt in self.prompts]

    def test_a_reply_is_at_most_as_long_as_asked_for(self, engine: Engine) -> None:
        """`finish_reason` says whether the limit cut it off."""
        for limit in (1, 3):
            for reply in engine.generate(self.prompts, Sampling(max_new_tokens=limit, temperature=0.0)):
                assert 1 <= len(reply.ids) <= limit
                assert reply.finish_reason in ("stop", "length")
                assert reply.finish_reason == "stop" or len(reply.ids) == limit

    def test_token_ids_and_log_probabilities_are_plain_numbers(self, engine: Engine) -> None:
        """They are recorded as JSON; a log-probability belongs to each token, or to none."""
        for reply in self.greedy(engine, self.prompts):
            assert all(type(token) is int for token in reply.ids)
            if reply.logprobs is not None:
                assert len(reply.logprobs) == len(reply.ids)
                assert all(type(value) is float and value <= self.tolerance for value in reply.logprobs)

    def test_a_stop_token_ends_a_reply_and_is_part_of_it(self, engine: Engine) -> None:
        """A conversation is continued from exactly these ids."""
        (free,) = self.greedy(engine, self.prompts[:1])
        stop = free.ids[min(1, len(free.ids) - 1)]
        (stopped,) = self.greedy(engine, self.prompts[:1], stop=(stop,))
        first = free.ids.index(stop)
        assert stopped.ids == free.ids[: first + 1]
        assert stopped.finish_reason == "stop"

    def test_greedy_is_the_same_every_time(self, engine: Engine) -> None:
        """Whatever the seed."""
        first = self.greedy(engine, self.prompts)
        second = self.greedy(engine, self.prompts, seed=1)
        assert [reply.ids for reply in first] == [reply.ids for reply in second]

    def test_a_seed_draws_the_same_tokens_again(self, engine: Engine) -> None:
        """Evaluations can be repeated, and another seed is another draw."""
        sampling = Sampling(max_new_tokens=12, temperature=1.0, seed=3)
        drawn = [reply.ids for reply in engine.generate(self.prompts, sampling)]
        assert drawn == [reply.ids for reply in engine.generate(self.prompts, sampling)]
        others = [
            [reply.ids for reply in engine.generate(self.prompts, Sampling(max_new_tokens=12, seed=seed))]
            for seed in range(4, 8)
        ]
        assert any(other != drawn for other in others), "four other seeds drew the same tokens"

    @pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}], ids=str)
    def test_what_narrows_the_choice_is_honoured_or_refused(
        self, engine: Engine, narrow: dict[str, Any]
    ) -> None:
        """An option without effect measures another policy than the configuration names."""
        best = [reply.ids for reply in self.greedy(engine, self.prompts)]
        with contextlib.suppress(ConfigError):
            drawn = engine.generate(self.prompts, Sampling(max_new_tokens=4, **narrow))
            assert [reply.ids for reply in drawn] == best

    def greedy(
        self, engine: Engine, prompts: Sequence[Sequence[int]], *, stop: tuple[int, ...] = (), seed: int = 0
    ) -> list[Reply]:
        """The most likely replies of up to four tokens."""
        sampling = Sampling(max_new_tokens=4, temperature=0.0, stop_token_ids=stop, seed=seed)
        return engine.generate(prompts, sampling)
