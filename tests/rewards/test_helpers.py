"""Helper processes: started when needed, used again, and gone with whoever needed them."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.fakes.replies import replied

from tenyson import rewards

ENDS = """
import os, signal, sys
from tenyson import rewards
from tests.fakes.replies import replied
reward = rewards.regex("a")
reward(replied("a"))
print(open(f"/proc/self/task/{os.getpid()}/children").read(), flush=True)
if sys.argv[1] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "fork":
    if os.fork() == 0:
        os._exit(0 if reward(replied("a")) == 1.0 else 1)
    sys.exit(os.waitstatus_to_exitcode(os.wait()[1]) or reward(replied("b")) != 0.0)
"""

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
ROOT = Path(__file__).parents[2]


def _children() -> set[str]:
    # A child is its thread's, and passes to any other once that has ended.
    return {child for task in Path("/proc/self/task").iterdir() for child in _children_of(task)}


def _children_of(task: Path) -> list[str]:
    with contextlib.suppress(FileNotFoundError):
        return (task / "children").read_text().split()
    return []


@pytest.mark.may_skip("reads /proc")
@linux
def test_a_reward_starts_a_process_when_it_is_first_asked_and_ends_it_with_itself() -> None:
    """Making rewards again and again, as metrics do, costs nothing."""
    before = _children()
    for _ in range(100):
        rewards.math(), rewards.regex("a"), rewards.json_schema(True)
    assert _children() == before
    reward = rewards.regex("a")
    assert [reward(replied(text)) for text in "abab"] == [1.0, 0.0, 1.0, 0.0]
    assert len(_children() - before) == 1
    del reward
    gc.collect()
    assert _children() == before


@pytest.mark.may_skip("reads /proc")
@linux
def test_threads_share_at_most_as_many_processes_as_there_are_cores() -> None:
    """And each gets its own answer."""
    before = _children()
    reward = rewards.regex("^1")
    with ThreadPoolExecutor(16) as pool:
        values = list(pool.map(lambda number: reward(replied(str(number))), range(200)))
    assert values == [float(str(number).startswith("1")) for number in range(200)]
    assert 1 <= len(_children() - before) <= (os.cpu_count() or 1)


@pytest.mark.slow
@pytest.mark.may_skip("reads /proc")
@linux
@pytest.mark.parametrize("how", ["exit", "kill", "fork"])
def test_no_process_outlives_the_one_that_started_it(how: str) -> None:
    """Whether it ends or is killed; a forked process starts its own."""
    done = subprocess.run(
        [sys.executable, "-c", ENDS, how], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == (-signal.SIGKILL if how == "kill" else 0), done.stderr
    (helper,) = done.stdout.split()
    deadline = time.monotonic() + 60
    while Path(f"/proc/{helper}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{helper}").exists()


def test_a_process_that_was_killed_is_replaced() -> None:
    """What it was computing is worth 0; the next call has another one."""
    reward = rewards.regex("a")
    assert reward(replied("a")) == 1.0
    helper = reward.function.__closure__
    (pool,) = [cell.cell_contents for cell in helper if type(cell.cell_contents).__name__ == "Helper"]
    pool._idle[0]._process.kill()
    pool._idle[0]._process.wait()
    assert reward(replied("a")) == 0.0
    assert reward(replied("a")) == 1.0


def test_importing_rewards_imports_nothing_heavy() -> None:
    """Neither do the factories that need no package."""
    code = (
        "import sys; from tenyson import rewards; rewards.number(); rewards.code(isolated=False); rewards.regex('a'); "
        "sys.exit(bool({'sympy', 'jsonschema', 'math_verify', 'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
