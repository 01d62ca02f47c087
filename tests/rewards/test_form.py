"""length and format: the form of a reply."""

from __future__ import annotations

import pytest
from tests.fakes.replies import replied

from tenyson import rewards
from tenyson.errors import TaskError

TAGS = rewards.format(tags=["think", "answer"])
GOOD = "<think>a</think>\n<answer>b</answer>"


@pytest.mark.parametrize(
    ("limits", "size", "value"),
    [
        ({"at_most": 5}, 5, 1.0),
        ({"at_most": 5}, 6, 0.0),
        ({"at_most": 4, "slack": 4}, 6, 0.5),
        ({"at_most": 4, "slack": 4}, 80, 0.0),
        ({"at_least": 3}, 2, 0.0),
        ({"at_least": 4, "slack": 2}, 3, 0.5),
        ({"at_least": 2, "at_most": 4}, 3, 1.0),
    ],
)
def test_a_length_is_worth_1_within_limits_and_falls_outside(limits: dict, size: int, value: float) -> None:
    """In a straight line over `slack`."""
    assert rewards.length(**limits)(replied("word " * size)) == value
    assert rewards.length(**limits, unit="tokens")(replied("", tokens=size)) == value
    assert rewards.length(**limits, unit="characters")(replied("w" * size)) == value
    assert rewards.length(**limits, unit="lines")(replied("w\n" * size)) == value


def test_reasoning_has_no_length_but_in_tokens() -> None:
    """What the model thought is not its reply."""
    assert rewards.length(at_most=1)(replied("<think>a b c</think> d")) == 1.0
    assert rewards.length(at_most=1, extract=rewards.tag("answer"))(replied("a b <answer>c</answer>")) == 1.0


@pytest.mark.parametrize(
    "limits",
    [{}, {"at_least": 3, "at_most": 2}, {"at_most": -1}, {"at_most": 2, "slack": -1}, {"at_most": 2, "unit": "pages"},
     {"at_most": float("nan")}, {"at_most": 2, "unit": "tokens", "extract": rewards.whole}],
)  # fmt: skip
def test_limits_that_contradict_each_other_are_refused(limits: dict) -> None:
    """When the reward is made."""
    with pytest.raises(TaskError):
        rewards.length(**limits)


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        (GOOD, 1.0),
        (f"{GOOD} more", 0.0),
        (f"more {GOOD}", 0.0),
        ("<think>a</think> so <answer>b</answer>", 0.0),
        ("<answer>b</answer><think>a</think>", 0.0),
        ("<think>a</think>", 0.0),
        ("<think> </think><answer>b</answer>", 0.0),
        ("<think>a</think><answer>b", 0.0),
        # open-r1 359: sections written again and again.
        ("<think>a</think><think>b</think><answer>c</answer>", 0.0),
        ("<think>a<think>b</think></think><answer>c</answer>", 0.0),
        ("", 0.0),
    ],
)
def test_sections_are_there_in_order_once_each_with_content(reply: str, value: float) -> None:
    """And nothing outside of them."""
    assert TAGS(replied(reply)) == value


def test_reasoning_that_is_written_apart_is_the_first_section() -> None:
    """As the renderers of families hand it over (trl 6966)."""
    assert TAGS(replied("<answer>b</answer>", reasoning="a")) == 1.0
    assert TAGS(replied("<answer>b</answer>", reasoning="")) == 0.0
    assert TAGS(replied("<answer>b</answer>")) == 0.0


def test_the_prompt_may_have_opened_the_first_section() -> None:
    """With `opened`; a reply that opens it again is right, too."""
    reward = rewards.format(tags=["think", "answer"], opened=True)
    assert reward(replied("a</think><answer>b</answer>")) == 1.0
    assert reward(replied(GOOD)) == 1.0
    assert TAGS(replied("a</think><answer>b</answer>")) == 0.0


def test_markers_begin_sections() -> None:
    """Each reaches to the next."""
    reward = rewards.format(markers=["## Plan", "## Answer"])
    assert reward(replied("## Plan\na\n## Answer\nb")) == 1.0
    assert reward(replied("## Plan\n## Answer\nb")) == 0.0
    assert reward(replied("## Answer\nb\n## Plan\na")) == 0.0


def test_parts_of_a_form_may_count() -> None:
    """With `partial`; without `only` there may be text around."""
    partial = rewards.format(tags=["think", "answer"], partial=True)
    assert partial(replied("<think>a</think> b")) == 0.5
    assert partial(replied("<think>a</think><think>b</think>")) == 0.0
    assert rewards.format(tags=["answer"], only=False)(replied("so <answer>b</answer>.")) == 1.0


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"tags": ["a"], "markers": ["b"]},
        {"tags": ["a", "a"]},
        {"tags": [""]},
        {"tags": "answer"},
        {"markers": ["a"], "opened": True},
    ],
)
def test_sections_that_make_no_form_are_refused(sections: dict) -> None:
    """When the reward is made."""
    with pytest.raises(TaskError):
        rewards.format(**sections)
