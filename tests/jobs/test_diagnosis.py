"""The live diagnosis names each sign once it holds for three batches, and only then."""

from __future__ import annotations

import pytest

from tenyson.config.schema import Sign
from tenyson.jobs.trainers.diagnosis import Batch, Diagnosis


def healthy(**changes):
    """Two groups of four that differ in reward, in both components alike."""
    values = {
        "groups": ["a"] * 4 + ["b"] * 4,
        "rewards": [0.0, 2.0, 1.0, 0.0, 2.0, 0.0, 1.0, 1.0],
        "components": [{"right": one % 2, "format": one // 2 % 2} for one in range(8)],
        "truncated": [False] * 8,
        "tokens": [20] * 8,
    }
    return Batch(**{**values, **changes})


def found(diagnosis):
    return [finding.check for finding in diagnosis.pop()]


BATCHES = {
    "zero_variance": {"rewards": [1.0] * 4 + [0.0] * 4},
    "truncated": {"truncated": [True] * 8},
    "length_drift": {"tokens": [90] * 8},
    "refused_calls": {"calls": 12, "refused": 6},
    "one_component": {"components": [{"right": one % 2, "format": 0.0} for one in range(8)]},
}
STEPS = {
    "entropy_collapse": {"entropy": 0.01},
    "no_signal": {"grad_norm": 0.0, "reward_std": 0.4},
    "logprob_mismatch": {"sampling/sampling_logp_difference/mean": 0.5},
}


def test_every_sign_that_a_configuration_may_name_is_tested_here():
    assert set(Sign.__args__) == {*BATCHES, *STEPS}


@pytest.mark.parametrize("sign", BATCHES)
def test_a_sign_in_what_is_generated_is_told_once_after_three_batches(sign):
    diagnosis = Diagnosis()
    for _ in range(6):
        diagnosis.batch(healthy())
    assert found(diagnosis) == []
    for _ in range(2):
        diagnosis.batch(healthy(**BATCHES[sign]))
    assert found(diagnosis) == []
    for _ in range(5):
        diagnosis.batch(healthy(**BATCHES[sign]))
    [finding] = diagnosis.pop()
    assert finding.check == sign
    assert finding.next_step


@pytest.mark.parametrize("sign", STEPS)
def test_a_sign_in_the_trainers_numbers_is_told_once_after_three_steps(sign):
    diagnosis = Diagnosis()
    good = {
        "entropy": 2.0,
        "grad_norm": 0.3,
        "reward_std": 0.4,
        "sampling/sampling_logp_difference/mean": 0.01,
    }
    for _ in range(6):
        diagnosis.step(good)
    assert found(diagnosis) == []
    for _ in range(6):
        diagnosis.step({**good, **STEPS[sign]})
    assert found(diagnosis) == [sign]


def test_a_sign_that_comes_and_goes_is_not_told():
    diagnosis = Diagnosis()
    for _ in range(5):
        diagnosis.batch(healthy(truncated=[True] * 8))
        diagnosis.batch(healthy(truncated=[True] * 8))
        diagnosis.batch(healthy())
    assert found(diagnosis) == []


def test_a_resumed_diagnosis_goes_on_counting_and_tells_nothing_twice():
    first, second = Diagnosis(), Diagnosis()
    for _ in range(3):
        first.batch(healthy(truncated=[True] * 8))
    assert found(first) == ["truncated"]
    first.batch(healthy(**BATCHES["zero_variance"]))
    first.batch(healthy(**BATCHES["zero_variance"]))
    second.restore(first.state())
    second.batch(healthy(truncated=[True] * 8, **BATCHES["zero_variance"]))
    assert found(second) == ["zero_variance"]
