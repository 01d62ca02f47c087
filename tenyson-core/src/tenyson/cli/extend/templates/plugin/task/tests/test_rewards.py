import pytest
from tenyson.tasks import Rollout, Sample

from my_thing.rewards import is_right, letters_in_place

SAMPLE = Sample(id="cab", prompt=[{"role": "user", "content": "cab"}], data={"answer": "abc"})


@pytest.mark.parametrize(
    ("text", "right", "letters"),
    [("abc", 1, 1), ("abx", 0, 2 / 3), ("", 0, 0), ("abcd", 0, 1)],
)
def test_an_answer_is_worth(text: str, right: float, letters: float) -> None:
    rollout = Rollout(SAMPLE, [{"role": "assistant", "content": text}])
    assert is_right(rollout) == right
    assert letters_in_place(rollout) == letters
