"""math: equality by math-verify, from any thread, and it ends."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.fakes.replies import replied

from tenyson import rewards
from tenyson.errors import TaskError


@pytest.fixture(scope="module")
def equals():
    """One reward for all tests, whose process starts once."""
    return rewards.math(seconds=1)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("\\boxed{\\frac12}", "1/2"),
        ("\\boxed{0.5}", "$\\frac{1}{2}$"),
        ("\\boxed{x=5}", "5"),
        ("\\boxed{5}", 5),
        ("So the answer is $2x+y$.", "y+2x"),
        ("the final answer is 42", "42"),
        ("\\boxed{\\{2,1\\}}", "\\{1,2\\}"),
        ("\\boxed{(1,2)}", "(1,2)"),
        ("\\boxed{\\text{Evelyn}}", "Evelyn"),
        ("\\boxed{1,234}", "1234"),
        ("\\boxed{18\\text{ cm}}", "18"),
        ("\\boxed{1} and then \\boxed{2}", "2"),
        ("\\boxed{3}", "We find $\\boxed{3}$."),
        ("\\boxed{3}", ["2", "3"]),
        ("<think>\\boxed{1}</think>\\boxed{2}", "2"),
        ("\\boxed{1e5}", "100000"),
        ("\\boxed{2.5E-3}", "0.0025"),
        ("\\boxed{1\\,000}", "1000"),
        ("\\boxed{10,\\!000}", "10000"),
        ("\\boxed{-1 234 567}", "-1234567"),
        ("\\boxed{1000}", "1\\,000"),
        ("\\boxed{\uff16}", "6"),
        ("\\boxed{0.\\overline{3}}", "1/3"),
        ("\\boxed{1.1\\overline{6}}", "\\frac76"),
        ("\\boxed{True}", "true"),
        ("\\boxed{\\text{YES}}", "yes"),
        ("\\boxed{\\text{June }20}", "\\text{June 20}"),
    ],
)
def test_what_is_equal_as_mathematics_is_right(equals, reply: str, answer: object) -> None:
    """However it is written, with and without dollar signs and boxes."""
    assert equals(replied(reply, answer)) == 1.0


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("\\boxed{64/400}", "\\frac{63}{400}"),  # open-r1 566: a right answer that was not read was worth 1
        ("\\boxed{2}", "3"),
        ("\\boxed{1} and then \\boxed{2}", "1"),
        ("\\boxed{1, 2}", "1"),
        ("\\boxed{1\\,000}", "1"),
        ("\\boxed{2e}", "2"),
        ("\\boxed{\\text{no}}", "yes"),
        ("\\boxed{0.\\overline{3}}", "0.3"),
        ("I do not know", "3"),
        ("", "3"),
        ("\\boxed{}", "3"),
        ("\\boxed{1e999999999}", "3"),
        ("\ud800 \\boxed{\ud800}", "3"),
        ("1" * 1_000_000, "3"),
        ("\\boxed{" + "9" * 100_000 + "}", "3"),
        ("$" * 100_000, "3"),
    ],
    ids=lambda value: str(value)[:30].encode("ascii", "replace").decode(),
)
def test_what_is_not_is_worth_nothing(equals, reply: str, answer: str) -> None:
    """Guessing several answers included."""
    assert equals(replied(reply, answer)) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "reply",
    [
        "\\boxed{9^{9^{9^9}}}",
        "9**9**9**9",
        "\\boxed{" + "(" * 300 + ")" * 300 + "}",
        "\\boxed{10^{10^{10}}!}",
    ],
)
def test_an_answer_that_cannot_be_computed_ends(equals, reply: str) -> None:
    """It is worth 0 after the limit, and the next answer is read as before."""
    begin = time.monotonic()
    assert equals(replied(reply, "5")) == 0.0
    assert time.monotonic() - begin < 60
    assert equals(replied("\\boxed{5}", "5")) == 1.0


@pytest.mark.slow
def test_threads_get_what_a_single_one_gets(equals) -> None:
    """math-verify's own limits need the main thread; ours do not."""
    rollouts = [
        replied(f"\\boxed{{{number}/2}}", f"\\frac{{{number - number % 3 // 2}}}{{2}}")
        for number in range(40)
    ]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(equals, rollouts)) == [0.0 if number % 3 == 2 else 1.0 for number in range(40)]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("", "is neither text nor a number"),
        (None.__class__, "is neither text nor a number"),
        ("$$", "is no mathematics"),
    ],
)
def test_a_right_answer_that_cannot_be_read_is_an_error(equals, answer: object, message: str) -> None:
    """Never a value, which would reward every reply or none."""
    with pytest.raises(TaskError, match=f"sample train/7 {message}"):
        equals(replied("\\boxed{5}", answer))


def test_without_truth_it_says_nothing(equals) -> None:
    """None."""
    assert equals(replied("\\boxed{5}", None)) is None
