"""What `make test-fast` promises: its workers import no training library before the first test."""

from __future__ import annotations

import pytest


def test_collecting_the_tests_that_do_not_train_imports_no_training_library(
    imported_by_collection: list[str], pytestconfig: pytest.Config
) -> None:
    """It takes a worker 20 seconds of processor time; a file that needs one imports it in a test, or trains as a whole."""
    if not pytestconfig.option.markexpr.startswith("not train"):
        pytest.skip('only with -m "not train"')
    assert imported_by_collection == []
