"""What all tests share: a quiet environment, and the rule that on CI nothing is skipped in silence."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

# Subprocesses inherit these; torch reads the first one when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Threads that wait by spinning take the cores from the other worker's tests.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("TENYSON_DB_URL", None)
os.environ.pop("TENYSON_PLUGINS", None)

pytest_plugins = ["tests.fakes.postgres"]

ON_CI = os.environ.get("CI") == "true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """On CI a skipped test is a failure, unless it is marked `may_skip`."""
    report = yield
    if (
        ON_CI
        and report.skipped
        and not hasattr(report, "wasxfail")
        and not item.get_closest_marker("may_skip")
    ):
        report.outcome = "failed"
        report.longrepr = f"skipped on CI, where everything must run: {_reason(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for a module that skips itself while it is imported."""
    report = yield
    if ON_CI and report.skipped:
        report.outcome = "failed"
        report.longrepr = f"skipped on CI, where everything must run: {_reason(report)}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
