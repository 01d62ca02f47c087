"""What a request to the endpoint may say of sampling: each parameter that evaluations have, within its range."""

from __future__ import annotations

import pytest

from tenyson.engines.endpoint.api_error import ApiError
from tenyson.engines.endpoint.parameters import read_chat
from tenyson.engines.engine import DRAWN

ASKED = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


@pytest.mark.parametrize("name", DRAWN)
def test_each_parameter_of_sampling_is_read_and_its_range_is_checked(name):
    assert read_chat(ASKED | {name: DRAWN[name]}).options.drawn == {name: DRAWN[name]}
    for wrong in ("much", True, -1):
        with pytest.raises(ApiError) as caught:
            read_chat(ASKED | {name: wrong})
        assert f"{name} must be " in str(caught.value)
