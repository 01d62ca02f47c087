import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError
from tenyson.testing.backends import TICKING, BackendContract

from my_thing.backend import MyThingBackend
from my_thing.settings import MyThingSettings


class TestContract(BackendContract):
    @pytest.fixture
    def backend(self, tmp_path: Path) -> Iterator[MyThingBackend]:
        backend = MyThingBackend(tmp_path / "outputs", (sys.executable, *TICKING))
        yield backend
        backend.close()


def test_the_command_begins_with_nice() -> None:
    assert MyThingBackend(niceness=5).runner[:3] == ("nice", "-n", "5")


def test_no_job_gets_ahead_of_others() -> None:
    with pytest.raises(ValidationError):
        MyThingSettings(niceness=-1)
