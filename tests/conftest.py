"""What all tests share: a quiet environment, and the rule that on CI nothing is skipped in silence."""

from __future__ import annotations

import fcntl
import gc
import os
import re
import signal
import sys
import tempfile
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from tests.fakes import warm

# Subprocesses inherit these; torch reads the first one when it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Threads that wait by spinning take the cores from the other worker's tests.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.pop("TENYSON_DB_URL", None)
os.environ.pop("TENYSON_PLUGINS", None)
# What torch and others import stays: it need not be searched for garbage again and again.
gc.set_threshold(100_000, 20, 20)
# A shell that starts us in the background lets us ignore Ctrl-C, and every process that a test starts would, too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ["tests.fakes.postgres"]
# Contracts that are classes to subclass live in the package; their assertions, too, are to show values.
pytest.register_assert_rewrite("tenyson.testing")

# A file is one worker's; one that takes minutes must not begin when the others end. Those that wait and those that compute
# alternate.
LONGEST_FIRST = [
    f"tests/{name}.py"
    for name in (
        "pipeline/test_planted_bugs", "gym/test_every_data_set", "modal/test_runs", "soak/test_soak_sample", "aws/test_bucket",
        "modal/test_training", "jobs/test_exact_resume", "aws/test_runs", "engines/test_smollm2_preset",
        "jobs/test_known_failures", "aws/test_unattended", "engines/test_engines", "aws/test_soak_sample",
        "aws/test_training",  # not beside Modal's: the first of them runs the pipeline that both compare with
        "packaging/test_wheels", "modal/test_soak_sample", "jobs/test_steering", "modal/test_launch",
        "docs/test_specification_end_to_end", "telemetry/test_recovery", "jobs/test_damaged_files",
        "pipeline/test_run_pipeline", "jobs/test_hub", "pipeline/test_machines", "pipeline/test_laptop_story",
        "jobs/test_doctor", "pipeline/test_cli_run", "wordle/test_models",
    )
]  # fmt: skip

ON_CI = os.environ.get("CI") == "true"
COLD = bool(os.environ.get("TENYSON_TESTS_COLD"))
"""Whether all processes of tests are new interpreters."""

if not ON_CI:  # where Hypothesis has a profile of its own
    # Cores are shared: how long an example takes says nothing of the code.
    settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("here")


WHOLLY_TRAIN = re.compile(r"^pytestmark = (?:pytest\.mark\.train$|\[pytest\.mark\.train,)", re.MULTILINE)
"""How a file says that all of its tests train."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Files of which `-m` leaves nothing are not imported: each worker would, and some import torch."""
    words = config.option.markexpr.split()
    if "or" in words or not collection_path.match("test_*.py"):
        return None
    text = collection_path.read_text(encoding="utf-8")
    if words[:2] == ["not", "train"] and WHOLLY_TRAIN.search(text):
        return True
    return True if words[:1] == ["train"] and "mark.train" not in text else None


IMPORTED = pytest.StashKey[list[str]]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Note what the collection alone has imported."""
    heavy = ("torch", "transformers", "datasets", "peft", "trl", "vllm")
    session.config.stash[IMPORTED] = [name for name in heavy if name in sys.modules]


@pytest.fixture
def imported_by_collection(pytestconfig: pytest.Config) -> list[str]:
    """Training libraries that some test file, or what it uses, imports at its top."""
    return pytestconfig.stash[IMPORTED]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order of LONGEST_FIRST; what is not named there comes afterwards, as it was."""
    root = Path(__file__).parents[1]
    ranks = {root / name: rank for rank, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path, len(ranks)))


WARM = pytest.StashKey[ExitStack]()
SERVERS = pytest.StashKey[dict[bool, "warm.Server"]]()
FROZEN = pytest.StashKey[int]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Within a test that is not `cold`, Tenyson's processes start warm."""
    if item.get_closest_marker("cold") is not None or COLD:
        return (yield)
    trains = item.get_closest_marker("train") is not None
    if trains:
        _freeze_modules(item.config)
    servers = item.config.stash.setdefault(SERVERS, {})
    if trains not in servers:
        running = item.config.stash.setdefault(WARM, ExitStack())
        folder = Path(running.enter_context(tempfile.TemporaryDirectory()))
        servers[trains] = running.enter_context(warm.serving(folder, trains=trains))
    with warm.warm_processes(servers[trains]):
        return (yield)


def _freeze_modules(config: pytest.Config) -> None:
    """Every training ends with a collection of garbage, which takes a second where it looks at all training libraries."""
    if len(sys.modules) > config.stash.get(FROZEN, 0) + 100:
        gc.collect()
        gc.freeze()
        config.stash[FROZEN] = len(sys.modules)


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the servers of warm processes."""
    if WARM in config.stash:
        config.stash[WARM].close()


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for models that are built on the spot, the same one for all workers."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared-cache"


@pytest.fixture(scope="session")
def smollm2(shared_cache: Path) -> Path:
    """The directory of SmolLM2's weights, which takes 20 seconds to build."""
    from tenyson.config.load import parse_config
    from tenyson.jobs.models.model import resolve_model

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TENYSON_CACHE", str(shared_cache))
        config = parse_config({"model": {"factory": "tenyson_wordle.smollm2:build"}})
        return Path(resolve_model(config).path)


@pytest.fixture(scope="session")
def wordle_here(shared_cache: Path) -> dict[str, Any]:
    """What the tiny Wordle pipeline prints and makes on this machine; run by one worker."""
    from tests.fakes.wordle_run import likeness, start

    folder = shared_cache / "wordle-here"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "said").exists():
            process = start(folder, "local")
            said, _ = process.communicate(timeout=900)
            assert process.returncode == 0, said
            (folder / "said").write_text(said)
    return likeness((folder / "said").read_text(), folder)


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
