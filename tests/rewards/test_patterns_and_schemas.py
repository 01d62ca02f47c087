"""regex and json_schema: what a helper process computes, with a limit."""

from __future__ import annotations

import json
import time

import pytest
from tests.fakes.replies import replied

from tenyson import rewards
from tenyson.errors import TaskError

SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
}
VALID = rewards.json_schema(SCHEMA)


def test_a_pattern_matches_anywhere_or_all_of_it() -> None:
    """`full` is for all of it; `flags` are those of re."""
    assert rewards.regex(r"\d+")(replied("a 12")) == 1.0
    assert rewards.regex(r"\d+", full=True)(replied("a 12")) == 0.0
    assert rewards.regex(r"YES", flags=2)(replied("yes")) == 1.0
    assert rewards.regex(r"\d", extract=rewards.tag("answer"))(replied("1 <answer>a</answer>")) == 0.0


def test_a_pattern_may_come_from_the_sample() -> None:
    """None in the data says nothing; an invalid one names the sample."""
    reward = rewards.regex(lambda sample: sample.data["answer"])
    assert reward(replied("abc", "b")) == 1.0
    assert reward(replied("abc", None)) is None
    with pytest.raises(TaskError, match=r"on sample train/7: .* is no regular expression"):
        reward(replied("abc", "("))
    with pytest.raises(TaskError, match=r"on sample train/7: .* is no regular expression"):
        reward(replied("abc", 5))


def test_an_invalid_pattern_is_refused_when_the_reward_is_made() -> None:
    """Not at the first rollout."""
    with pytest.raises(TaskError, match=r"the reward regex: .* is no regular expression: missing"):
        rewards.regex("(")
    with pytest.raises(TaskError, match="seconds is 0"):
        rewards.regex("a", seconds=0)


@pytest.mark.parametrize(
    "find",
    [rewards.regex(r"(a+)+$", seconds=0.3), rewards.exact(extract=rewards.matching(r"(a+)+$", seconds=0.3))],
)
def test_a_search_that_explodes_ends_and_the_next_one_works(find) -> None:
    """Catastrophic backtracking is no match; the helper process is replaced."""
    begin = time.monotonic()
    assert find(replied("a" * 60 + "b", "aaa")) == 0.0
    assert time.monotonic() - begin < 20
    assert find(replied("aaa", "aaa")) == 1.0


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ('{"name": "x"}', 1.0),
        ('```json\n{"name": "x", "age": 3}\n```', 1.0),
        ('```\n{"name": "x"}\n```', 1.0),
        ('Here it is: {"name": "x"}. Enjoy!', 1.0),
        ('<think>{"name": 1}</think><answer>{"name": "x"}</answer>', 1.0),
        ('{"name": 5}', 0.0),
        ('{"age": 5}', 0.0),
        ('{"name": "x", "age": NaN}', 0.0),
        ('{"name": "x"', 0.0),
        ("", 0.0),
        ("[" * 1_000_000, 0.0),
        ('{"name": "x", "age": ' + "9" * 5000 + "}", 0.0),
        ('{"name": "\\ud800"}', 1.0),
        ("\ud800", 0.0),
    ],
    ids=lambda value: str(value)[:30].encode("ascii", "replace").decode(),
)
def test_json_is_found_and_validated(reply: str, value: float) -> None:
    """In a block, in a tag, bare, or within prose; whatever else is there is worth 0."""
    assert VALID(replied(reply)) == value


def test_with_truth_the_value_must_be_right() -> None:
    """By value; with `partial` by the share of right fields, so that invented ones cost."""
    whole = rewards.json_schema(SCHEMA, truth="answer")
    share = rewards.json_schema(SCHEMA, truth="answer", partial=True)
    right = {"name": "x", "age": 3}
    assert whole(replied('{"age": 3.0, "name": "x"}', right)) == 1.0
    assert whole(replied('{"age": 4, "name": "x"}', right)) == 0.0
    assert share(replied('{"age": 4, "name": "x"}', right)) == 0.5
    assert share(replied('{"age": 3, "name": "x", "a": 1, "b": 2}', right)) == 0.5
    assert share(replied('{"age": 3}', right)) == 0.0, "the schema does not allow it"
    assert whole(replied('{"age": 3, "name": "x"}', None)) is None
    assert rewards.json_schema(True, truth="answer")(replied("true", 1)) == 0.0


def test_a_schema_that_cannot_be_used_is_the_authors_fault() -> None:
    """An invalid one when the reward is made; a reference that leads nowhere at the first reply. Nothing is fetched."""
    with pytest.raises(TaskError, match="the schema is invalid at properties/a/type: 'text'"):
        rewards.json_schema({"properties": {"a": {"type": "text"}}})
    with pytest.raises(TaskError, match="the schema is no JSON"):
        rewards.json_schema({"const": {1, 2}})
    for reference in ("#/$defs/nowhere", "http://127.0.0.1:9/schema.json"):
        with pytest.raises(TaskError, match="the schema cannot be used"):
            rewards.json_schema({"$ref": reference})(replied("{}"))


def test_a_pattern_in_a_schema_ends() -> None:
    """A schema's own patterns run with the same limit."""
    reward = rewards.json_schema({"type": "string", "pattern": "^(a+)+$"}, seconds=0.3)
    assert reward(replied(json.dumps("a" * 60 + "b"))) == 0.0
    assert reward(replied(json.dumps("aaa"))) == 1.0


def test_without_jsonschema_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error has the pip line."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'tenyson-core\[json\]'"):
        rewards.json_schema(SCHEMA)
    with pytest.raises(ImportError, match=r"pip install 'tenyson-core\[math\]'"):
        rewards.math()
    with pytest.raises(ImportError, match=r"pip install 'tenyson-core\[openai\]'"):
        rewards.judge(rewards.JudgeModel(name="a", url="http://b/v1"), pairwise=True)
