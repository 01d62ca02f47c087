"""Conversations advance as soon as their own reply is there, and the order of completion decides nothing."""

from __future__ import annotations

import random
import time

import pytest
from tests.engines.test_play import CountdownTask, renderer, sample

from tenyson.engines.engine import Reply, Sampling

pytestmark = pytest.mark.train

__all__ = ["renderer"]

SAMPLING = Sampling(8, seed=3)


class Shuffled:
    """A continuous engine that ends its requests in an order of its own; a reply follows from its request's seed alone."""

    name = "shuffled"

    def __init__(self, renderer, order: int, hold: int = 0) -> None:
        """Hold: requests without which it answers none, for a second at most."""
        self._renderer, self._draw = renderer, random.Random(order)
        self._hold, self._patience = hold, 100
        self.queued: dict[int, Sampling] = {}
        self.most = 0
        self.answered: list[int] = []

    def add(self, key, prompt, sampling):
        assert key not in self.queued
        self.queued[key] = sampling
        self.most = max(self.most, len(self.queued))

    def finished(self):
        if len(self.queued) < self._hold and self._patience:
            self._patience -= 1
            time.sleep(0.01)
            return []
        if not self.queued:
            return []
        key = self._draw.choice(sorted(self.queued))
        self.answered.append(key)
        said = self._renderer.reply(f"{self.queued.pop(key).seed % 10**6}")
        return [(key, Reply(said, "stop", [-0.5] * len(said)))]

    def drop(self):
        self.queued.clear()


def independently(renderer, engine, samples, size=4, **options):
    from tenyson.engines.play.independent import play_independently

    options = {"max_turns": 9, "batch_size": size} | options
    return play_independently(CountdownTask(), samples, renderer, engine, SAMPLING, **options)


def said(batches):
    return [[(one.rollout.sample.id, one.rollout.replies) for one in batch] for batch in batches]


def test_the_order_in_which_replies_come_changes_no_rollout(renderer):
    """Batches hold the samples in their order; each reply's seed is that of its conversation and turn."""
    samples = [sample(turns) for turns in (3, 1, 2, 5, 1, 1, 4, 2, 1, 3)]
    engines = [Shuffled(renderer, order) for order in range(5)]
    found = [said(independently(renderer, engine, samples)) for engine in engines]
    assert all(one == found[0] for one in found)
    assert len({tuple(engine.answered) for engine in engines}) > 1, "the orders must differ"
    assert [name for batch in found[0] for name, _ in batch] == [one.id for one in samples]
    assert [len(batch) for batch in found[0]] == [4, 4, 2]
    replies = [reply for batch in found[0] for _, texts in batch for reply in texts]
    assert len(set(replies)) == len(replies), "no two replies share a seed"


def test_a_place_that_is_free_is_taken_at_once(renderer):
    """One long conversation does not leave the engine empty, and never are more under way than the batch size."""
    samples = [sample(9), *[sample(1)] * 6]
    engine = Shuffled(renderer, 0, hold=2)
    assert [len(batch) for batch in said(independently(renderer, engine, samples, size=2))] == [2, 2, 2, 1]
    assert engine.most == 2


def test_a_failed_environment_breaks_off_its_own_conversation_only(renderer):
    """As with all conversations in step: the others are played to their ends."""
    broken = sample(2)
    broken.data.clear()
    [batch] = independently(renderer, Shuffled(renderer, 0), [sample(1), broken, sample(3)])
    assert [one.rollout.sample.id for one in batch if not one.rollout.error] == ["1", "3"]
    assert [one.rollout.sample for one in batch if one.rollout.error] == [broken]


def test_what_is_raised_between_two_replies_drops_what_is_under_way(renderer):
    """A stop request, say: batches that are whole stay, and nothing is left in the engine."""
    engine = Shuffled(renderer, 0)

    def between():
        if len(engine.answered) == 5:
            raise InterruptedError

    batches = independently(renderer, engine, [sample(1)] * 2 + [sample(3)] * 6, size=2, between=between)
    assert len(next(batches)) == 2
    with pytest.raises(InterruptedError):
        list(batches)
    assert not engine.queued


def test_a_conversation_is_cut_off_at_the_turn_limit(renderer):
    """The limit counts each conversation's own turns."""
    [batch] = independently(renderer, Shuffled(renderer, 0), [sample(99), sample(2), sample(99)], max_turns=4)
    assert [len(one.rollout.replies) for one in batch] == [4, 2, 4]
    assert [one.rollout.finish_reason for one in batch] == ["turns", "stop", "turns"]
