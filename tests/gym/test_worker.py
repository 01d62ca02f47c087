"""The worker: what scorers and generators do stays in it, and nothing that a model writes reaches further."""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tenyson.errors import TaskError
from tenyson.tasks import Rollout
from tenyson_reasoning_gym.task import ReasoningGymTask
from tenyson_reasoning_gym.worker import guards
from tenyson_reasoning_gym.worker.client import Worker


@pytest.fixture
def own() -> Iterator[Worker]:
    found = Worker()
    yield found
    found.close()


def entry(own: Worker, name: str) -> dict[str, object]:
    return own.entries(name, {"seed": 1, "size": 10}, [0], 60)[0]


def score(own: Worker, name: str, answer: str, seconds: float = 5) -> float:
    return own.score(name, {"seed": 1, "size": 10}, 0, str(entry(own, name)["digest"]), answer, seconds)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(guards.PYTHON | guards.MATHS))
def test_no_answer_is_run_as_python(name: str, own: Worker, tmp_path: Path) -> None:
    """reasoning-gym's own scorers call eval on these."""
    mark = tmp_path / "ran"
    for text in (
        f"open({str(mark)!r}, 'w').close()",
        f"[open({str(mark)!r}, 'w')]",
        f"__import__('pathlib').Path({str(mark)!r}).touch()",
        f"(lambda: open({str(mark)!r}, 'w'))()",
    ):
        assert score(own, name, text) < 1
    assert not mark.exists()


@pytest.mark.slow
def test_every_scorer_that_evaluates_text_is_guarded() -> None:
    """A later version of the package may have more of them."""
    import reasoning_gym  # noqa: F401
    from reasoning_gym.factory import DATASETS

    found = {
        name
        for name, (cls, _) in DATASETS.items()
        if re.search(
            r"\b(eval|exec|sympify|parse_expr|literal_eval)\(\s*(answer|\w*\.?strip)", inspect.getsource(cls)
        )
    }
    assert found <= guards.PYTHON | guards.MATHS, found - guards.PYTHON - guards.MATHS
    assert set(DATASETS) >= guards.PYTHON | guards.MATHS


def test_maths_passes_the_guard_and_python_does_not() -> None:
    """Formulas of letters, numbers and common functions."""
    for text in ("(8 - 2) * 4 / 1", "x**2/2 + sin(3*x) + C", "-5*log(x) + exp(2*x)/2", "sqrt(2)*t - 3.5"):
        assert guards.is_maths(text), text
    for text in (
        "x.__class__",
        "os.system",
        "open(x)",
        "[1]",
        "x = 1",
        "lambda: 1",
        "'a'",
        "().a",
        "x. real",
        "getattr(x, y)",
    ):
        assert not guards.is_maths(text), text


@pytest.mark.slow
def test_an_answer_that_takes_for_ever_is_worth_nothing(own: Worker) -> None:
    """9**9**9**9 is computed by sympy until the limit; the worker serves the next request."""
    began = time.monotonic()
    assert score(own, "puzzle24", "9**9**9**9", 1.0) == 0
    assert time.monotonic() - began < 30
    right = entry(own, "puzzle24")["answer"]
    assert score(own, "puzzle24", str(right)) == 1


@pytest.mark.slow
def test_a_worker_that_is_killed_is_replaced(own: Worker) -> None:
    """It is no fault of the answer, which gets its score."""
    right = str(entry(own, "chain_sum")["answer"])
    assert own.process.pid is not None
    os.kill(own.process.pid, signal.SIGKILL)
    assert score(own, "chain_sum", right) == 1
    assert own.process.ended == 1


@pytest.mark.slow
def test_an_entry_that_is_not_made_in_time_is_an_error(own: Worker) -> None:
    """No score is invented for it; the message says what to change."""
    with pytest.raises(TaskError, match=r"futoshiki.*time limit") as error:
        own.entries("futoshiki", {"seed": 1, "size": 10}, [0], 0.01)
    assert "entry_seconds" in str(error.value)


@pytest.mark.slow
def test_an_answer_is_scored_against_its_own_entry_only(own: Worker) -> None:
    """Samples of another version of the package have another digest."""
    with pytest.raises(TaskError, match="does not repeat itself"):
        own.score("gcd", {"seed": 1, "size": 10}, 0, "00000000", "1", 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "texts"),
    [("complex_arithmetic", ["nan", "nan + nani"]), ("game_of_life_halting", ["x", "maybe"])],
)
def test_scorers_that_accept_nonsense_are_corrected(name: str, texts: list[str], own: Worker) -> None:
    """min(1.0, nan) is 1.0, and bool("False") is true: a model would learn to say that."""
    for text in texts:
        assert score(own, name, text) < 1
    assert score(own, name, str(entry(own, name)["answer"])) == 1


def test_threads_share_a_worker() -> None:
    """Rewards may be asked side by side."""
    task = ReasoningGymTask(dataset="chain_sum", train_size=40, eval_size=1)
    accuracy = task.rewards()[0]

    def right(sample: object) -> float | None:
        text = f"<answer>{sample.data['answer']}</answer>"  # type: ignore[attr-defined]
        return accuracy(Rollout(sample, [{"role": "assistant", "content": text}]))  # type: ignore[arg-type]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(right, task.rl_samples("train", 0))) == {1.0}


@pytest.mark.slow
def test_the_worker_has_no_secrets_and_ends_with_its_parent() -> None:
    """Its environment is a list of names, and its pipe closes with a parent that is killed."""
    code = (
        "import os, signal\n"
        "from tenyson_reasoning_gym.worker.client import worker\n"
        "worker().names()\n"
        "print(worker().process.pid, flush=True)\n"
        "print('SECRET' in open(f'/proc/{worker().process.pid}/environ').read(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "SECRET": "x"}, capture_output=True, text=True
    ).stdout.split()
    assert said[1] == "False"
    for _ in range(100):
        if not Path(f"/proc/{said[0]}").exists():
            return
        time.sleep(0.1)
    raise AssertionError("the worker is still there")


@pytest.mark.slow
def test_neither_the_task_nor_its_module_imports_reasoning_gym() -> None:
    """It takes matplotlib, sympy and a second or more, all of it in the worker."""
    code = (
        "import sys\n"
        "from tenyson_reasoning_gym.task import ReasoningGymTask\n"
        "ReasoningGymTask(dataset='gcd')\n"
        "print([name for name in ('reasoning_gym', 'sympy', 'numpy', 'torch') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
