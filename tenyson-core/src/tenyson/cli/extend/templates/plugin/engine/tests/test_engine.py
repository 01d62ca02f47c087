from collections.abc import Iterator

import pytest
from tenyson.engines import EngineSpec, Sampling
from tenyson.errors import ConfigError
from tenyson.testing.engines import EngineContract

from my_thing.engine import MyThingEngine


class TestContract(EngineContract):
    @pytest.fixture
    def engine(self) -> Iterator[MyThingEngine]:
        engine = MyThingEngine(EngineSpec(model="none"))
        yield engine
        engine.close()


def test_what_it_cannot_do_is_refused() -> None:
    sampling = Sampling(max_new_tokens=4, repetition_penalty=1.5)
    with pytest.raises(ConfigError, match="repetition_penalty"):
        MyThingEngine(EngineSpec(model="none")).generate([[1]], sampling)
