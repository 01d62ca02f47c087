import pytest
from tenyson.testing.tasks import TaskContract

from my_thing.task import MyThingTask


class TestContract(TaskContract):
    @pytest.fixture
    def task(self) -> MyThingTask:
        return MyThingTask()


def test_the_preset_measures_before_and_after_training() -> None:
    steps = MyThingTask.presets()["tiny"].steps
    assert [step.job for step in steps] == ["eval", "sft", "rl", "eval"]
