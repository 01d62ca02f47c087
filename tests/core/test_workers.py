"""Workers: whatever the code in the process does, the caller has an answer or an error that says why, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tenyson.core.workers import Worker
from tenyson.errors import TaskError, WorkerError

HERE = Path(__file__).with_name("misbehaving.py")
SECONDS = 60.0

Make = Callable[..., Worker]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[Worker] = []

    def worker(serves: str = "Plain", **options: Any) -> Worker:
        made.append(Worker("worlds", f"{HERE}:{serves}", **options))
        return made[-1]

    yield worker
    for one in made:
        one.end()


def fails(worker: Worker, verb: str, limit: float = SECONDS, /, **arguments: Any) -> WorkerError:
    with pytest.raises(WorkerError) as raised:
        worker.ask(verb, limit, **arguments)
    return raised.value


def soon(condition: Callable[[], bool]) -> bool:
    """Within twenty seconds."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


def is_gone(pid: int) -> bool:
    """One that nobody has reaped counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_a_method_is_called_in_a_process_of_its_own(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """On its main thread, with a list of variables, without input, and with nothing of Tenyson imported."""
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("NAMED", "y")
    worker = make(pass_env=["NAMED"], env={"GIVEN": "z"})
    assert worker.pid is None
    assert worker.ask("add", SECONDS, one=1, other=2) == 3
    assert worker.pid not in (None, os.getpid())
    found = {name: worker.ask("about", SECONDS, name=name) for name in ("SECRET", "NAMED", "GIVEN")}
    assert [one.pop("variable") for one in found.values()] == [None, "y", "z"]
    assert found["GIVEN"] == {"leads_its_group": True, "input": "", "tenyson": [], "on_main_thread": True}


def test_a_python_of_its_own_needs_nothing_of_tenyson(make: Make, tmp_path: Path) -> None:
    """It sees none of this interpreter's packages, where this one sees all."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    worker = make(python=str(tmp_path / "venv" / "bin" / "python"))
    assert worker.ask("add", SECONDS, one=1, other=2) == 3
    assert fails(worker, "limited", seconds=0.05).cause == "ModuleNotFoundError: No module named 'tenyson'"
    assert make().ask("limited", SECONDS, seconds=0.05) == "interrupted"


def test_what_a_method_raises_is_told_with_its_traceback(make: Make) -> None:
    """The process stays, also after sys.exit and a result that is no JSON."""
    worker = make()
    error = fails(worker, "raise_it", text="no such world")
    assert isinstance(error, TaskError)
    assert (error.kind, error.raised, error.message) == ("raised", "LookupError", "no such world")
    assert error.cause == "LookupError: no such world"
    assert "in raise_it" in error.output
    pid = worker.pid
    assert fails(worker, "exit").cause == "SystemExit: bye"
    assert "set" in fails(worker, "odd").cause
    assert fails(worker, "nothing_of_the_kind").raised == "AttributeError"
    assert fails(worker, "limited_outside", seconds=0.05).raised == "TimeLimitError"
    assert (worker.pid, worker.ended) == (pid, 0)


def test_one_that_dies_is_named_with_its_code_and_its_last_line(make: Make) -> None:
    """The next request starts another, also where it was killed between two of them."""
    worker = make()
    error = fails(worker, "die", code=5, says="first\n\x1b[31mout of coal")
    assert error.kind == "ended"
    assert error.cause == "the process that runs worlds ended with code 5: out of coal"
    assert error.output.splitlines()[-2:] == ["first", "out of coal"]
    assert worker.pid is None
    assert worker.ask("add", SECONDS, one=1, other=2) == 3
    assert worker.ended == 1
    assert worker.pid is not None
    os.kill(worker.pid, signal.SIGKILL)
    assert soon(lambda: worker.pid is None)
    assert worker.ask("add", SECONDS, one=1, other=2) == 3
    assert worker.ended == 2


def test_what_ends_two_processes_is_the_requests_doing(make: Make, tmp_path: Path) -> None:
    """With two attempts; what ends one is not."""
    worker = make(attempts=2)
    assert worker.ask("die_once", SECONDS, mark=str(tmp_path / "mark")) == "second"
    assert worker.ended == 1
    assert "was ended by SIGKILL" in fails(make(), "die_once", mark=str(tmp_path / "other")).cause
    assert "ended with code 7" in fails(worker, "die", code=7).cause
    assert worker.ended == 3


def test_one_that_hangs_is_ended_once_its_time_is_over(make: Make) -> None:
    """It is not asked again: that would take as long."""
    worker = make(attempts=2)
    worker.ask("add", SECONDS, one=1, other=2)
    pid = worker.pid
    assert pid is not None
    error = fails(worker, "hang", 0.2)
    assert error.kind == "late"
    assert error.cause == "the process that runs worlds: it has not answered `hang` within 0.2 s"
    assert is_gone(pid)
    assert worker.ended == 1
    assert worker.ask("add", SECONDS, one=1, other=2) == 3


def test_one_that_reads_nothing_holds_nobody_up(make: Make) -> None:
    """A request of more than a pipe holds."""
    worker = make()
    worker.ask("add", SECONDS, one=1, other=2)
    pid = worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    assert fails(worker, "echo", 0.3, text="x" * 1_000_000).kind == "late"
    assert is_gone(pid)


@pytest.mark.parametrize(
    ("serves", "limit", "says"),
    [
        ("Broken", 60, "does not start: ModuleNotFoundError: No module named 'world'"),
        ("Silent", 0.2, "does not start: it has not started within 0.2 s"),
        ("Missing", 60, "does not start: AttributeError: .*has no attribute 'Missing'"),
    ],
)
def test_one_that_does_not_start_says_why(serves: str, limit: float, says: str, make: Make) -> None:
    """Nobody asks it twice."""
    worker = make(serves, start_seconds=limit, attempts=2)
    with pytest.raises(WorkerError, match=says) as raised:
        worker.ask("add", SECONDS, one=1, other=2)
    assert raised.value.kind == "start"
    assert worker.ended == 1


def test_an_interpreter_that_cannot_be_run_is_named(make: Make) -> None:
    """With the system's reason."""
    error = fails(make(python="/no/such/python"), "add", one=1, other=2)
    assert error.kind == "python"
    assert error.message == "/no/such/python cannot be run: No such file or directory"


def test_what_it_prints_stands_between_no_answers(make: Make) -> None:
    """A megabyte, by print and beneath it; errors show the end of it."""
    worker = make()
    assert worker.ask("say", SECONDS, text="noise " * 200, times=1000) == "said"
    assert worker.ended == 0
    error = fails(worker, "die", code=1, says="\nthe last")
    assert error.cause.endswith(": the last")
    assert len(error.output) <= 2000


def test_what_is_no_answer_ends_it(make: Make) -> None:
    """Garbage that got into the pipe all the same, and a line without an end."""
    error = fails(make(), "garbage")
    assert error.kind == "answer"
    assert error.cause == "the process that runs worlds: it wrote what is no answer: 'garbage'"
    endless = fails(make(largest=1 << 20), "endless")
    assert "more than 1,048,576 bytes" in endless.cause


def test_an_answer_of_100_megabytes_is_refused_and_costs_itself_only(make: Make) -> None:
    """It does not travel; one of two does."""
    worker = make()
    error = fails(worker, "long", characters=100_000_000)
    assert error.kind == "raised"
    assert "the answer has 100," in error.cause
    assert len(worker.ask("long", SECONDS, characters=2_000_000)) == 2_000_000
    assert worker.ended == 0


def test_half_a_surrogate_and_any_character_travel(make: Make) -> None:
    """Models write them."""
    text = "\ud800 \u2028 \n \x00 \N{SNOWMAN} \U0001f600"
    assert make().ask("echo", SECONDS, text=text) == text


def test_a_copy_that_a_method_forks_answers_nothing(make: Make) -> None:
    """It ends where the method returns, so that no answer comes twice."""
    worker = make()
    parent, child = worker.ask("fork", SECONDS)
    assert parent == worker.pid
    assert child > 0
    assert soon(lambda: is_gone(child))
    assert [worker.ask("add", SECONDS, one=number, other=0) for number in range(20)] == list(range(20))


@pytest.mark.parametrize("apart", [False, True])
def test_a_copy_that_holds_the_pipes_does_not_hide_that_the_process_died(
    make: Make, tmp_path: Path, apart: bool
) -> None:
    """What is in its process group ends with it."""
    error = fails(make(), "leave_behind", pid_file=str(tmp_path / "pid"), apart=apart)
    assert "ended with code 3" in error.cause
    copy = int((tmp_path / "pid").read_text())
    if apart:
        os.kill(copy, signal.SIGKILL)
    assert soon(lambda: is_gone(copy))


def test_memory_is_limited(make: Make) -> None:
    """Above it, Python raises."""
    worker = make(memory=1 << 30)
    assert fails(worker, "allocate", size=2 << 30).raised == "MemoryError"
    assert worker.ask("allocate", SECONDS, size=1 << 20) == 1 << 20


def test_threads_take_turns(make: Make) -> None:
    """Each gets its own answer."""
    worker = make()
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda number: worker.ask("add", SECONDS, one=number, other=1), range(200))
        assert list(found) == list(range(1, 201))


def test_a_caller_that_is_interrupted_leaves_no_answer_for_the_next(make: Make, tmp_path: Path) -> None:
    """Such as by Ctrl-C, which the process itself does not heed."""
    worker = make()
    began = tmp_path / "began"
    code = (
        f"import sys; sys.path = {sys.path!r}\n"
        "from tenyson.core.workers import Worker\n"
        f"worker = Worker('worlds', {f'{HERE}:Plain'!r})\n"
        "try:\n"
        f"    worker.ask('hang', 60, began={str(began)!r})\n"
        "except KeyboardInterrupt:\n"
        "    print(worker.ask('add', 60, one=1, other=2), worker.ended)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert soon(began.exists)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0].split() == ["3", "1"]
    del worker


def test_a_fork_of_the_caller_has_a_process_of_its_own(make: Make) -> None:
    """And leaves its parent's alone."""
    worker = make()
    worker.ask("add", SECONDS, one=1, other=2)
    pid = worker.pid
    copy = os.fork()
    if copy == 0:
        good = worker.ask("add", SECONDS, one=2, other=3) == 5 and worker.pid != pid
        worker.end()
        os._exit(0 if good else 1)
    assert os.waitpid(copy, 0)[1] == 0
    assert worker.ask("add", SECONDS, one=1, other=2) == 3
    assert worker.pid == pid


@pytest.mark.slow
def test_no_process_thread_or_file_stays_behind(make: Make) -> None:
    """However a worker ends: told to, or forgotten."""

    def files() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()
    before = files()
    pids = []
    for number in range(4):
        worker = make() if number % 2 else Worker("worlds", f"{HERE}:Plain")
        worker.ask("add", SECONDS, one=1, other=2)
        pids.append(worker.pid)
        if number % 2:
            worker.end()
        del worker
    gc.collect()
    assert all(is_gone(pid) for pid in pids if pid)
    assert files() <= before


def test_a_busy_process_ends_with_a_caller_that_is_killed(tmp_path: Path) -> None:
    """Its pipe closes, which it notices while a method hangs."""
    began = tmp_path / "began"
    code = (
        f"import sys, threading, time; sys.path = {sys.path!r}\n"
        "from tenyson.core.workers import Worker\n"
        f"worker = Worker('worlds', {f'{HERE}:Plain'!r})\n"
        f"threading.Thread(target=worker.ask, args=('hang', 60), kwargs=dict(began={str(began)!r})).start()\n"
        "while worker.pid is None: time.sleep(0.01)\n"
        "print(worker.pid, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert soon(began.exists)
    process.kill()
    process.communicate()
    assert soon(lambda: is_gone(pid))


class TestSideBySide:
    """Coroutine functions."""

    @pytest.fixture
    def worker(self, make: Make) -> Worker:
        return make("Together", side_by_side=True, grace_seconds=1.0)

    def test_calls_run_while_others_wait(self, worker: Worker) -> None:
        """Answers come in any order."""
        waiting = [worker.submit("wait") for _ in range(3)]
        assert worker.ask("open", SECONDS) == 0
        assert [one.result(SECONDS) for one in waiting] == ["opened"] * 3
        assert worker.pending == 0

    def test_a_task_that_is_cancelled_cancels_its_call(self, worker: Worker) -> None:
        """Through asyncio, as an agent of a rollout is."""

        async def give_up() -> None:
            waiting = asyncio.ensure_future(asyncio.wrap_future(worker.submit("wait")))
            while await asyncio.wrap_future(worker.submit("waiting")) == 0:
                await asyncio.sleep(0.01)
            waiting.cancel()
            await asyncio.wait([waiting])

        asyncio.run(give_up())
        assert soon(lambda: worker.pending == 0)
        assert worker.ask("count", SECONDS) == 1

    def test_a_call_that_is_late_is_cancelled_also_before_it_has_begun(self, worker: Worker) -> None:
        """The process stays: others may be waiting."""
        assert worker.submit("wait").cancel()
        error = fails(worker, "wait", 0.01)
        assert error.kind == "late"
        assert soon(lambda: worker.pending == 0)
        assert worker.ended == 0

    def test_what_one_raises_concerns_no_other(self, worker: Worker) -> None:
        """A process that dies concerns all that wait."""
        waiting = worker.submit("wait")
        assert fails(worker, "raise_it").cause == "ValueError: planted"
        assert not waiting.done()
        assert "ended with code 5" in fails(worker, "die").cause
        error = waiting.exception(SECONDS)
        assert isinstance(error, WorkerError)
        assert error.kind == "ended"
        assert worker.ask("count", SECONDS) == 0

    def test_calls_may_clean_up_at_the_end_and_not_for_ever(self, worker: Worker, tmp_path: Path) -> None:
        """They are cancelled, and have `grace_seconds`."""
        left = worker.submit("clean_up", mark=str(tmp_path / "mark"))
        worker.submit("stay")
        worker.ask("count", SECONDS)
        worker.end()
        assert (tmp_path / "mark").exists()
        assert isinstance(left.exception(SECONDS), WorkerError)
        assert worker.pid is None

    def test_nothing_is_submitted_where_one_is_answered_at_a_time(self, make: Make) -> None:
        """If the process ended, nobody would know which of them it was."""
        with pytest.raises(ValueError, match="one request at a time"):
            make().submit("add", one=1, other=2)


def test_the_bridge_of_the_how_to_plays(tmp_path: Path) -> None:
    """Copied as it stands."""
    page = (Path(__file__).parents[2] / "docs/how-to/somebody-elses-environment.md").read_text("utf-8")
    files = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```\n", page, re.DOTALL))
    assert sorted(files) == ["dice.py", "dice_desk.py"]
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    code = (
        "from dice import Dice\n"
        "rewards = []\n"
        "for number in range(1, 7):\n"
        "    game = Dice('a game', 3)\n"
        "    game.reset()\n"
        "    rewards.append(game.step(str(number)).reward)\n"
        "print(sum(rewards))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout == "1.0\n", done.stderr


def test_importing_it_is_light() -> None:
    """Plugins import it where listings import them."""
    code = (
        "import sys\n"
        "from tenyson.core.workers import Worker, time_limit\n"
        "Worker('worlds', 'no_such_module:Thing')\n"
        "print([name for name in ('asyncio', 'pydantic', 'torch', 'sqlalchemy') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
