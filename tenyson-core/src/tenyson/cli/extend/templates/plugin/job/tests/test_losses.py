from types import SimpleNamespace

import pytest
import torch

from my_thing.losses import losses


def test_each_row_is_asked_about_alone() -> None:
    def model(ids: torch.Tensor, labels: torch.Tensor) -> SimpleNamespace:
        assert ids.shape == labels.shape == (1, ids.numel())
        return SimpleNamespace(loss=ids.float().mean())

    found = list(losses(model, [[1, 2, 3], [4]], [[-100, 2, 3], [4]]))
    assert found == pytest.approx([2.0, 4.0])
