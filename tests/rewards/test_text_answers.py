"""exact, choice and number: answers however models write them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.replies import replied

from tenyson import rewards
from tenyson.errors import TaskError
from tenyson.rewards.reading.extraction import Extract
from tenyson.tasks import Reward, Rollout

NUMBER = rewards.number()
CHOICE = rewards.choice()
EXACT = rewards.exact()


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("The answer is $1,234.", "1234"),
        ("The delivery costs $29.00.", "29"),  # lm-evaluation-harness 3214
        ("**Answer: \\$18 per day.**", 18),
        ("#### -3", "#### -3"),
        ("#### \u22123", -3),
        ("so 5 - 3 = 2", "2"),
        ("From -3 to -5", -5),
        ("pages 3\u20135", 5),
        ("Items:\n- 5 apples", 5),
        ("x \u2212 4", 4),
        ("\\boxed{-\\frac{3}{4}}", -0.75),
        ("\\boxed{2\\frac{1}{2}}", 2.5),
        ("\\boxed{\\boxed{5}}", 5),
        ("\\boxed{10{,}000}", 10000),
        ("\\boxed 7", 7),
        ("1\u00bd cups", "3/2"),
        ("That is 50%.", "0.5"),
        ("That is 50%.", 50),
        ("3.5 \u00d7 10\u2074", 35000),
        ("10^{-3}", "0.001"),
        ("1.2e-3", 0.0012),
        ("\uff11\uff12", 12),
        ("3 million people", 3_000_000),
        ("1\u202f000\u202f000", 1e6),
        ("1'000", 1000),
        ("An area of 25 m\u00b2", 25),
        ("It is 2020, 300 of them", 300),
        ("Answer: m+n = 256+37 = 293", 293),
        ("The answer is 5, because 3 + 2 = 5, which leaves 1", 5),
        ("Answer:\n\n42", 42),
        ("<answer>8</answer> or maybe 9", 8),
        ("\u7b54\u6848\u662f18\u3002", 18),
        ("either 6", [5, 6]),
        ("he has 72", "He sold 48/2 = 24 in May and 48 in April.\n#### 72"),
        ("\\boxed{72}", "It is $\\boxed{72}$."),
        ("\ud800 7", 7),
    ],
)
def test_a_number_is_read_however_it_is_written(reply: str, answer: object) -> None:
    """Signs, thousands, currency, percent, fractions, powers, LaTeX, and where the reply has it."""
    assert NUMBER(replied(reply, answer)) == 1.0


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("5", 6),
        ("no number", 3),
        ("", 3),
        ("NaN, inf", 3),
        ("1e999999999", 1),
        ("1/0", 1),
        ("0.5%", "50%"),
        ("5", -5),
        ("<think>It is 3.</think> It is 4.", 3),
        ("<think>It is 3", 3),
        ("CO2", 2),
    ],
)
def test_another_number_or_none_is_worth_nothing(reply: str, answer: object) -> None:
    """0, and no error, whatever the model wrote; reasoning is no answer."""
    assert NUMBER(replied(reply, answer)) == 0.0


@pytest.mark.parametrize(
    "reply",
    [
        "1" * 1_000_000,
        "1," * 500_000,
        "-" * 1_000_000,
        "\\boxed{" * 150_000,
        "answer is " * 100_000,
        "\u00bd" * 500_000,
    ],
)
@pytest.mark.parametrize("reward", [NUMBER, CHOICE, EXACT], ids=lambda reward: reward.name)
def test_a_megabyte_takes_seconds_at_most(reply: str, reward: Reward) -> None:
    """No reply takes time that grows faster than its length."""
    answer = {"number": 7, "choice": "B", "exact": "yes"}[reward.name]
    begin = time.process_time()
    assert reward(replied(reply, answer)) == 0.0
    assert time.process_time() - begin < 5


@given(st.text(st.characters(codec=None, categories=None), max_size=60))
def test_no_reply_raises(text: str) -> None:
    """Any text, half surrogates included, has a value."""
    for reward, answer in ((NUMBER, 7), (CHOICE, "B"), (EXACT, "yes")):
        assert reward(replied(text, answer)) in (0.0, 1.0)


@given(
    st.integers(-(10**12), 10**12),
    st.sampled_from(["{}", "{:,}", "${:,}.", "\\boxed{{{}}}", "It is **{}**", "#### {:,}"]),
)
def test_every_integer_is_read_in_every_form(value: int, form: str) -> None:
    """The number that was written is the one that is read, and no other."""
    assert NUMBER(replied(form.format(value), value)) == 1.0
    assert NUMBER(replied(form.format(value), value + 1)) == 0.0


def test_a_number_may_be_near() -> None:
    """`absolute` and `relative` allow for it; without them only the rounding of floats does."""
    assert NUMBER(replied("0.3", 0.1 + 0.2)) == 1.0
    assert NUMBER(replied("3.33", "10/3")) == 0.0
    assert rewards.number(absolute=0.01)(replied("3.33", "10/3")) == 1.0
    assert rewards.number(relative=0.01)(replied("101", 100)) == 1.0
    with pytest.raises(TaskError, match="absolute is -1"):
        rewards.number(absolute=-1)


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("B", "B"),
        ("(b)", "B"),
        ("**B**", 1),
        ("B) Paris", "(B)"),
        ("A. Apple", 0),
        ("A because it is red", "A"),
        ("The answer is (C).", "C"),
        ("The correct answer is option B because x", "B"),
        ("Answer: D", "d"),
        ("\\boxed{\\text{B}}", "B"),
        ("<answer>B</answer>", "B"),
        ("It is\n\nC", "C"),
        ("<think>Is it A? No.</think>B", "B"),
        ("B", ["A", "B"]),
        ("\uff08B\uff09", "B"),
        ("\u7b54\u6848\u662fB", "B"),
        ("La respuesta es B", "B"),
        ('{"reason": "A is bad", "answer": "C"}', "C"),
        ("Option (A) is right", "A"),
        ("Option B is incorrect, so the answer is C", "C"),
        ("B is wrong. The correct one is C", "C"),
    ],
)
def test_an_option_is_read_however_it_is_named(reply: str, answer: object) -> None:
    """Letters with and without brackets, Markdown, LaTeX and reasons."""
    assert CHOICE(replied(reply, answer)) == 1.0


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("A dog is an animal", "A"),
        ("I think so", "A"),
        ("The answer is A or B", "A"),
        ("Answer: A, B", "A"),
        ("Because", "B"),
        ("B isn't it", "B"),
        ("", "A"),
        ("E", "A"),
    ],
)
def test_a_word_or_two_options_are_no_choice(reply: str, answer: str) -> None:
    """An article is no option, and who names two has not chosen."""
    assert CHOICE(replied(reply, answer)) == 0.0


def test_an_option_may_be_named_by_its_text() -> None:
    """`texts` names where they are; the truth may be the text, too."""
    reward = rewards.choice(texts="options")
    options = ["Rome", "Paris"]
    assert reward(replied("The answer is Paris.", 1, options=options)) == 1.0
    assert reward(replied("paris", "Paris", options=options)) == 1.0
    assert reward(replied("Rome", "B", options=options)) == 0.0
    with pytest.raises(TaskError, match="train/7 is no list of the texts"):
        reward(replied("B", "B", options="Rome"))


@pytest.mark.parametrize(
    ("reply", "answer"),
    [
        ("  Paris.\n", "paris"),
        ("**\u201cParis\u201d**", "Paris"),
        ("\ufb01ne", "fine"),
        ("a\u00a0 b", "A b"),
        ("5", 5),
        ("true", True),
        ("\u22125", "-5"),
        ("Lyon", ["Paris", "Lyon"]),
    ],
)
def test_a_text_is_the_same_however_it_is_set(reply: str, answer: object) -> None:
    """Case, blanks, quotes, Markdown, Unicode forms and a full stop make no difference."""
    assert EXACT(replied(reply, answer)) == 1.0


def test_a_text_is_another_where_it_differs() -> None:
    """Also where case counts, and punctuation only where it is not ignored."""
    assert EXACT(replied("Paris, France", "Paris")) == 0.0
    assert rewards.exact(ignore_case=False)(replied("paris", "Paris")) == 0.0
    assert EXACT(replied("well, then", "well then")) == 0.0
    assert rewards.exact(ignore_punctuation=True)(replied("well, then!", "well then")) == 1.0
    assert rewards.exact(ignore_punctuation=True)(replied("$5", "5")) == 0.0


@pytest.mark.parametrize(
    ("extract", "reply", "found"),
    [
        (rewards.whole, " a\nb ", "a\nb"),
        (rewards.last_line, "a\nb\n\n", "b"),
        (rewards.after("Answer:"), "answer: no\nAnswer: **yes**\nreally", "yes"),
        (rewards.after("####"), "#### \nyes", "yes"),
        (rewards.tag("answer"), "<answer>no</answer><answer>yes</answer>", "yes"),
        (rewards.boxed, "\\boxed{no} \\boxed{a_{1} \\} b}", "a_{1} \\} b"),
        (rewards.boxed, "\\boxed{no} \\fbox{yes} \\boxed{cut", "yes"),
        (rewards.fenced("json"), "```python\nno\n```\n```json\nyes\n```", "yes"),
        (rewards.fenced("json"), "yes", "yes"),
        (rewards.fenced(), "```\nyes", "yes"),
        (rewards.matching(r"is (\w+)"), "is no, is yes", "yes"),
        (rewards.matching(r"y\w+"), "yes", "yes"),
        (rewards.matching(r"is (?P<a>\w+) (?P<b>\w+)", group="b"), "is no yes", "yes"),
    ],
)
def test_an_answer_is_found_where_the_author_says(extract: Extract, reply: str, found: str) -> None:
    """Each way takes the last one."""
    assert rewards.exact(extract=extract)(replied(reply, found)) == 1.0


@pytest.mark.parametrize(
    ("extract", "reply"),
    [
        (rewards.after("####"), "yes"),
        (rewards.tag("answer"), "<answer>yes"),
        (rewards.boxed, "\\boxed{yes"),
        (rewards.fenced("json"), "```python\nyes\n```"),
        (rewards.matching(r"is (\w+)"), "yes"),
    ],
)
def test_where_nothing_is_found_the_value_is_0(extract: Extract, reply: str) -> None:
    """It is recorded as 0: the model did not answer in the form that it was asked for."""
    assert rewards.exact(extract=extract)(replied(reply, "yes")) == 0.0


def test_the_last_reply_counts() -> None:
    """Of a conversation, what the assistant said last."""
    sample = replied("", 2).sample
    messages: list = [
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "?"},
        {"role": "assistant", "content": "2"},
    ]
    assert NUMBER(Rollout(sample, messages)) == 1.0
    assert NUMBER(Rollout(sample, messages[:2])) == 0.0
    assert NUMBER(Rollout(sample, [])) == 0.0


def test_without_truth_a_reward_says_nothing() -> None:
    """None in the data is None as the value."""
    for reward in (NUMBER, CHOICE, EXACT):
        assert reward(replied("5", None)) is None


def test_the_truth_may_be_computed() -> None:
    """From the sample, by a function; what that raises names reward and sample."""
    double = rewards.number(truth=lambda sample: sample.data["n"] * 2, name="double", weight=0.5)
    assert (double.name, double.weight) == ("double", 0.5)
    assert double(replied("4", n=2)) == 1.0
    with pytest.raises(TaskError, match="the truth of the reward double raises on sample train/7: KeyError"):
        double(replied("4"))


@pytest.mark.parametrize(
    ("reward", "answer", "message"),
    [
        (
            rewards.number(truth="gold"),
            5,
            "the reward number: the data of sample train/7 has no 'gold'; it has answer",
        ),
        (NUMBER, "five", "the data 'answer' of sample train/7 is not one number: a str: 'five'"),
        (NUMBER, "5 or 6", "is not one number"),
        (NUMBER, True, "is not one number"),
        (NUMBER, [], "holds no answer"),
        (CHOICE, "E", "names none of the options A, B, C, D"),
        (CHOICE, 4, "names none of the options"),
        (EXACT, {"a": 1}, "is neither text, a number nor a truth value"),
    ],
)
def test_a_fault_of_the_author_names_sample_and_key(reward: Reward, answer: object, message: str) -> None:
    """It is an error, not a value."""
    with pytest.raises(TaskError) as caught:
        reward(replied("5", answer))
    assert message in str(caught.value)
    assert caught.value.next_step


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: rewards.after(" "), "the marker is empty"),
        (lambda: rewards.tag("a b"), "no name of a tag"),
        (lambda: rewards.matching("("), "no regular expression"),
        (lambda: rewards.matching("a", group=1), "has no group 1"),
        (lambda: rewards.choice(letters="A"), "two or more"),
        (lambda: rewards.choice(letters="AA"), "two or more"),
    ],
)
def test_what_can_be_refused_early_is(make, message: str) -> None:
    """When the reward is made, before anything is generated."""
    with pytest.raises(TaskError, match=message):
        make()
