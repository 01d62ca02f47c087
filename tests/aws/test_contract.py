"""The AWS backend keeps the contract of all backends."""

import pytest

from tenyson.testing.backends import BackendContract

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class TestAWSBackend(BackendContract):
    """Against the stand-in."""

    @pytest.fixture
    def backend(self, aws):
        return aws.backend()
