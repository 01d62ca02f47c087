"""What tests of the endpoint share."""

from __future__ import annotations

import pytest


@pytest.fixture(scope="session")
def renderer(tmp_path_factory):
    from transformers import AutoTokenizer

    from tenyson.engines.renderers import Renderer
    from tenyson.testing.tiny import build

    directory = tmp_path_factory.mktemp("tiny")
    build(directory, 0)
    return Renderer(AutoTokenizer.from_pretrained(directory))
