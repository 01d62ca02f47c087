from collections.abc import Iterator

import pytest
from tenyson.tasks import Sample, TaskPlugin
from tenyson.testing.jobs import JobContract


class Counting(TaskPlugin):
    name = "counting"

    def sft_samples(self, split: str, seed: int) -> Iterator[Sample]:
        for number in range(4):
            yield Sample(
                id=f"{split}-{number}",
                prompt=[{"role": "user", "content": f"What follows {number}?"}],
                completion=[{"role": "assistant", "content": str(number + 1)}],
            )


class TestContract(JobContract):
    plugin = "my_thing.plugin"
    name = "my-thing"

    @pytest.fixture
    def task(self) -> Counting:
        return Counting()
