"""code: programs of a model's run with limits, cut off from everything, and nothing of them stays."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.fakes.replies import replied

from tenyson import rewards
from tenyson.errors import TaskError

pytestmark = [
    pytest.mark.may_skip("programs are isolated by Linux"),
    pytest.mark.skipif(sys.platform != "linux", reason="programs are isolated by Linux"),
]

OK = [{"input": "", "output": "ok\n"}]
CODE = rewards.code(seconds=2, files=20, disk_mb=4)


def program(source: str, tests: object = None) -> object:
    """A rollout whose reply is a program, on a sample with tests."""
    return replied(f"Here:\n```python\n{source}\n```\nDone.", tests=OK if tests is None else tests)


@pytest.mark.slow
def test_a_program_prints_what_is_expected_for_each_input() -> None:
    """Blanks at line ends and blank lines at the end make no difference; `partial` counts the share."""
    tests = [
        {"input": "2\n", "output": "4\n5"},
        {"input": "3", "output": "6\n7\n\n"},
        {"input": "0", "output": "9"},
    ]
    source = "n = int(input())\nprint(2 * n, ' ')\nprint(2 * n + 1)"
    assert CODE(program(source, tests[:2])) == 1.0
    assert CODE(program(source, tests)) == 0.0
    assert rewards.code(partial=True)(program(source, tests)) == pytest.approx(2 / 3)
    listed = {"inputs": ["2", ["3"]], "outputs": ["4\n5", ["6", "7"]]}
    assert CODE(program(source, listed)) == 1.0


def test_code_that_asserts_sees_the_programs_names() -> None:
    """One text or several; names of the program are there, and its main part does not run."""
    source = "def double(x):\n    return 2 * x\nif __name__ == '__main__':\n    1 / 0"
    assert CODE(program(source, "assert double(2) == 4")) == 1.0
    assert CODE(program(source, ["assert double(2) == 4", "assert double(3) == 6"])) == 1.0
    assert (
        rewards.code(partial=True)(program(source, ["assert double(2) == 4", "assert double(3) == 7"])) == 0.5
    )


@pytest.mark.parametrize(
    "source",
    [
        "import sys; sys.exit(0)",
        "import os; os._exit(0)",
        "raise SystemExit",
        "import os\nfor fd in range(3, 64):\n  try: os.write(fd, b'ready\\n' + b'0' * 32)\n  except OSError: pass\nos._exit(0)",
        "import atexit; atexit.register(print, 'ok')\nf = lambda x: 5",
    ],
)
def test_a_program_that_ends_before_its_test_fails(source: str) -> None:
    """Leaving early with a good exit status passes nothing, nor does writing what the verdict looks like."""
    assert CODE(program(source, ["assert f(2) == 4"])) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize(
    "source",
    [
        "while True: pass",
        "import time; time.sleep(1000)",
        "x = bytearray(3 << 30)\nprint('ok')",
        "print('ok' * 50_000_000)",
        "print('ok')\nprint(' ' * 20_000)",
        "for i in range(100): open(str(i), 'w').close()\nprint('ok')",
        "open('a', 'wb').write(bytes(8 << 20))\nprint('ok')",
        "for i in range(10): open(str(i), 'wb').write(b'1' * (1 << 20))\nprint('ok')",
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(n): return f(n + 1)\nf(0)",
        "import os; os.abort()",
        "import ctypes; ctypes.string_at(0)",
        "print('ok'); raise SystemExit(3)",
        "print('ok'",
        "print('ok')\nassert False",
        "\x00",
        "print('\ud800ok')",
        "(" * 100_000,
        "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\nprint('no')",
    ],
    ids=lambda source: source[:40].encode("ascii", "replace").decode(),
)
def test_a_program_that_leaves_its_limits_or_fails_is_worth_nothing(source: str) -> None:
    """Time, sleep, memory, output, files and their sizes, depth, crashes, syntax: 0, and no error."""
    assert CODE(program(source)) == 0.0


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.socket()",
        "socket.create_connection(('127.0.0.1', 80))",
        "socket.socket(socket.AF_UNIX)",
        "os.fork()",
        "subprocess.run(['/bin/true'])",
        "os.kill(os.getppid(), 0)",
        "os.kill(-1, 0)",
        "os.setsid()",
        "os.chmod('.', 0)",
        "os.sched_setaffinity(os.getppid(), {0})",
        "resource.prlimit(os.getppid(), resource.RLIMIT_CPU, (1, 1))",
    ],
)
def test_a_program_reaches_neither_network_nor_processes(attempt: str) -> None:
    """Each attempt is refused, by the kernel."""
    source = f"import os, resource, socket, subprocess\ntry: {attempt}\nexcept OSError: print('ok')"
    assert CODE(program(source)) == 1.0


def _landlock() -> bool:
    import ctypes

    return ctypes.CDLL(None).syscall(444, None, ctypes.c_size_t(0), 1) > 0


@pytest.mark.may_skip("a kernel without Landlock keeps no files from a program")
@pytest.mark.skipif(sys.platform != "linux" or not _landlock(), reason="a kernel without Landlock")
@pytest.mark.parametrize(
    "attempt",
    [
        "open({file!r})",
        "open({file!r}, 'a')",
        "os.truncate({file!r}, 0)",
        "os.unlink({file!r})",
        "os.rename({file!r}, 'mine')",
        "os.link({file!r}, 'mine')",
        "os.listdir({folder!r})",
        "open({folder!r} + '/new', 'w')",
        "open(f'/proc/{{os.getppid()}}/environ').read()",
        "os.mkdir('folder')",
    ],
)
def test_a_program_reaches_no_files_but_its_own(attempt: str, tmp_path: Path) -> None:
    """Not the data, the keys nor the environment of who runs it."""
    file = tmp_path / "secret"
    file.write_text("secret")
    attempt = attempt.format(file=str(file), folder=str(tmp_path))
    assert CODE(program(f"import os\ntry: {attempt}\nexcept OSError: print('ok')")) == 1.0
    assert file.read_text() == "secret"


def test_a_program_inherits_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment has what Python needs, and nothing of ours."""
    monkeypatch.setenv("CANARY", "secret")
    assert CODE(program("import os\nprint('ok' if 'CANARY' not in os.environ else 'seen')")) == 1.0


def test_a_program_may_do_what_programs_do() -> None:
    """The standard library, threads, files in its folder, an exit with status 0."""
    source = """
import bisect, collections, datetime, decimal, heapq, itertools, json, random, re, sqlite3, sys, threading
thread = threading.Thread(target=lambda: open('a', 'w').write('ok'))
thread.start(); thread.join()
sys.setrecursionlimit(10_000)
print(open('a').read())
sys.exit()
"""
    assert CODE(program(source)) == 1.0
    assert CODE(program("import numpy; print('ok')")) == 0.0


@pytest.mark.slow
def test_a_program_without_isolation_has_its_limits_still() -> None:
    """Also what it started in the background ends with it."""
    reward = rewards.code(isolated=False, seconds=2)
    assert reward(program("import socket; socket.socket(); print('ok')")) == 1.0
    assert reward(program("while True: pass")) == 0.0
    marker = f"sleeper-{os.getpid()}-{time.monotonic_ns()}"
    source = f"import subprocess, sys\nsubprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', {marker!r}])\nprint('ok')"
    assert reward(program(source)) == 1.0
    deadline = time.monotonic() + 10
    while (left := [one for one in _commands() if marker in one]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def _commands() -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return found


def _open_files() -> Counter[str]:
    """What this process has open, by name; a name may be open several times."""
    found: Counter[str] = Counter()
    for file in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found[str(file.readlink())] += 1
    return found


@pytest.mark.slow
def test_nothing_of_a_program_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No folder, however deep or unreadable, no thread, no open file, no process."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    files, threads = _open_files(), threading.active_count()
    deep = "import os\nfor i in range(1200):\n  os.mkdir('a'); os.chdir('a')\n"
    with ThreadPoolExecutor(4) as pool:
        list(
            pool.map(
                CODE,
                [
                    program("open('a', 'w').write('x')"),
                    program("while True: pass"),
                    program(deep),
                    program("print('ok')"),
                ],
            )
        )
    assert rewards.code(isolated=False, files=10_000)(program(deep + "print('ok')")) == 1.0
    assert not list(tmp_path.iterdir())
    # Garbage of earlier tests may be collected meanwhile: fewer are no leak.
    assert _open_files() - files == Counter()
    assert threading.active_count() <= threads


def test_the_tests_of_a_rollout_have_a_time_of_their_own() -> None:
    """What does not come to run counts as failed."""
    reward = rewards.code(partial=True, seconds=5, total_seconds=0.5)
    begin = time.monotonic()
    assert reward(program("import time; time.sleep(1); print('ok')", OK * 50)) <= 1 / 50
    assert time.monotonic() - begin < 20


def test_the_last_block_is_the_program() -> None:
    """Without a block the whole reply; with blocks of other languages alone there is none."""
    assert (
        CODE(replied("```python\nprint('no')\n```\n```py\nprint('ok')\n```\n```bash\nls\n```", tests=OK))
        == 1.0
    )
    assert CODE(replied("print('ok')", tests=OK)) == 1.0
    assert CODE(replied("```bash\nprint('ok')\n```", tests=OK)) == 0.0
    assert CODE(replied("", tests=OK)) == 0.0


@pytest.mark.parametrize(
    "tests",
    [
        [],
        [{"input": ""}],
        {"inputs": ["a"], "outputs": []},
        5,
        [""],
        {"fn_name": "f", "inputs": [1], "outputs": [1]},
    ],
)
def test_tests_of_another_form_are_the_authors_fault(tests: object) -> None:
    """The error names sample and key."""
    with pytest.raises(TaskError, match="the data 'tests' of sample train/7 holds no tests"):
        CODE(program("print('ok')", tests))


def test_limits_that_are_none_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """And isolation where there is no Linux, when the reward is made."""
    with pytest.raises(TaskError, match="memory_mb is 0"):
        rewards.code(memory_mb=0)
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    with pytest.raises(TaskError, match="Darwin cannot keep them from the network"):
        rewards.code()
    assert rewards.code(isolated=False).name == "code"


def test_a_kernel_that_refuses_is_an_error_and_no_value(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program never runs with less than was asked for."""
    monkeypatch.setattr("tenyson.rewards.sandbox.run._SOURCE", Path("/nowhere"))
    with pytest.raises(TaskError, match="cannot be run with its limits: ModuleNotFoundError"):
        CODE(program("print('ok')"))


def test_without_tests_it_says_nothing() -> None:
    """None in the data."""
    assert CODE(replied("```\nprint('ok')\n```", tests=None)) is None
