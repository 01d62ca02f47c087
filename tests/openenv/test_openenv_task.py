"""The task as jobs use it, on a real OpenEnv server in a process."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tenyson.errors import ConfigError, TaskError
from tenyson.tasks import Sample, TaskPlugin
from tenyson.tasks.load import load_task
from tenyson.testing.tasks import TaskContract
from tenyson_openenv import pool as pools
from tenyson_openenv.action import ActionReader
from tenyson_openenv.observation import shown
from tenyson_openenv.server import LocalServer
from tenyson_openenv.session import RefusedError
from tenyson_openenv.task import OpenEnvTask

Arguments = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def servers_end() -> Iterator[None]:
    """Each test has servers of its own, and none is left."""
    made: list[pools.Pool] = []
    pools._pool.cache_clear()
    init = pools.Pool.__init__

    def noted(self: pools.Pool, options: Any) -> None:
        init(self, options)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pools.Pool, "__init__", noted)
        yield
    for pool in made:
        pool.end()


def local(task: OpenEnvTask) -> LocalServer:
    server = task.pool.first
    assert isinstance(server, LocalServer)
    return server


def first(task: TaskPlugin) -> Sample:
    return next(iter(task.rl_samples("train", 0)))


async def play(task: TaskPlugin, sample: Sample, replies: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """The observations from the reset on, and the info."""
    environment: Any = task.environment(sample)
    try:
        seen = [await environment.reset()]
        for reply in replies:
            seen.append(await environment.step(reply))
        return seen, dict(environment.info())
    finally:
        await environment.close()


def digit(sample: Sample) -> str:
    return str(sample.data["seed"] % 10)


def all_closed(events: Path, opened: int) -> bool:
    """Whether at least so many environments were made, and all of them closed; the server makes some for itself."""
    for _ in range(100):
        found = Counter(events.read_text().split())
        if found["close"] == found["open"] >= opened:
            return True
        time.sleep(0.05)
    return False


class TestContract(TaskContract):
    """What every task promises."""

    @pytest.fixture
    def task(self, served: dict[str, Any]) -> TaskPlugin:
        return OpenEnvTask(**served)


def test_an_episode_is_played_to_its_end_and_its_slot_is_freed(arguments: Arguments, events: Path) -> None:
    """Rewards of the steps, the end, and the numbers of the last observation are recorded."""
    task = OpenEnvTask(**arguments())
    sample = first(task)
    assert sample.id.startswith("Guess")
    assert "message" in sample.prompt[0]["content"]
    seen, info = asyncio.run(play(task, sample, ["x", digit(sample)]))
    assert [one.content for one in seen] == ["guess a digit", "wrong", "right"]
    assert [(one.reward, one.done) for one in seen[1:]] == [(0.0, False), (1.0, True)]
    assert info == {
        "steps": 2,
        "refused": 0,
        "resumed": 0,
        "done": True,
        "observation": {"distance": 0.0},
    }
    assert all_closed(events, 1)


def test_more_episodes_than_slots_wait_for_each_other(arguments: Arguments, events: Path) -> None:
    """With one slot, eight episodes are played one after the other."""
    task = OpenEnvTask(**arguments(slots=1))
    samples = list(task.rl_samples("train", 0))

    async def all_of_them() -> list[Any]:
        return await asyncio.gather(*(play(task, one, [digit(one)]) for one in samples))

    assert all(info["done"] for _, info in asyncio.run(all_of_them()))
    assert local(task).sessions == 0
    assert all_closed(events, 8)


def test_processes_have_slots_of_their_own(arguments: Arguments) -> None:
    """Four servers of one slot hold four episodes at once, and each gets one."""
    task = OpenEnvTask(**arguments(slots=1, processes=4, slot_seconds=0.2))
    samples = list(task.rl_samples("train", 0))[:4]

    async def held() -> list[int]:
        environments: list[Any] = [task.environment(one) for one in samples]
        await asyncio.gather(*(one.reset() for one in environments))
        found = [server.sessions for server in task.pool._servers]
        await asyncio.gather(*(one.close() for one in environments))
        return found

    assert asyncio.run(held()) == [1, 1, 1, 1]


def test_episodes_that_wait_for_one_another_share_a_slot(arguments: Arguments, events: Path) -> None:
    """As those of a batch do, whose replies come together: each is played again from its actions when its turn comes."""
    task = OpenEnvTask(**arguments(slots=1, slot_seconds=0.3))
    samples = list(task.rl_samples("train", 0))[:3]

    async def together() -> list[dict[str, Any]]:
        environments: list[Any] = [task.environment(one) for one in samples]
        await asyncio.gather(*(one.reset() for one in environments))
        for reply in ("x", "y"):
            seen = await asyncio.gather(*(one.step(reply) for one in environments))
            assert [one.content for one in seen] == ["wrong"] * 3
        ends = zip(environments, samples, strict=True)
        seen = await asyncio.gather(*(one.step(digit(sample)) for one, sample in ends))
        assert [(one.reward, one.done) for one in seen] == [(1.0, True)] * 3
        infos = [dict(one.info()) for one in environments]
        await asyncio.gather(*(one.close() for one in environments))
        return infos

    assert max(info["resumed"] for info in asyncio.run(together())) >= 2
    assert local(task).sessions == 0
    assert all_closed(events, 8)


def test_an_environment_that_does_not_repeat_itself_needs_a_slot_for_each_episode(
    arguments: Arguments,
) -> None:
    """It is said, and no rollout is continued with another episode."""
    task = OpenEnvTask(**arguments(slots=1, slot_seconds=0.2))
    sample = first(task)

    async def two() -> None:
        one, other = (task.environment(sample) for _ in range(2))
        await one.reset()  # type: ignore[misc]
        await one.step("random")  # type: ignore[misc]
        await other.reset()  # type: ignore[misc]
        with pytest.raises(TaskError, match="does not repeat itself"):
            await one.step("x")  # type: ignore[misc]
        await asyncio.gather(one.close(), other.close())  # type: ignore[arg-type]

    asyncio.run(two())
    assert local(task).sessions == 0


def test_a_wait_for_a_slot_that_others_hold_ends(arguments: Arguments, served: dict[str, Any]) -> None:
    """Nothing is held afterwards."""
    owner = OpenEnvTask(**arguments(slots=1))
    sample = first(owner)
    task = OpenEnvTask(url=owner.pool.first.url, slot_seconds=0.3)

    async def two() -> None:
        one, other = owner.environment(sample), task.environment(sample)
        await one.reset()  # type: ignore[misc]
        with pytest.raises(TaskError, match=r"no slot is free .*this job holds none that it could free"):
            await other.reset()  # type: ignore[misc]
        await asyncio.gather(one.close(), other.close())  # type: ignore[arg-type]

    asyncio.run(two())
    assert task.pool.first.sessions == 0
    assert asyncio.run(play(task, sample, [digit(sample)]))[1]["done"]


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        ("raise", "EXECUTION_ERROR: planted"),
        ("die", "connection lost"),
        ("hang", "no answer to step within 1 s"),
        ("huge", "connection lost"),
    ],
)
def test_a_server_that_fails_breaks_off_its_own_episode_only(
    reply: str, says: str, arguments: Arguments
) -> None:
    """The next one is played, on a server that was started again if need be."""
    task = OpenEnvTask(**arguments(step_seconds=1))
    sample = first(task)
    with pytest.raises(TaskError, match=says):
        asyncio.run(play(task, sample, [reply]))
    assert asyncio.run(play(task, sample, [digit(sample)]))[1]["done"]
    assert local(task).started == (2 if reply == "die" else 1)
    assert local(task).sessions == 0


def test_an_episode_that_is_cancelled_frees_its_slot(arguments: Arguments) -> None:
    """As when `rollouts.step_seconds` is over."""
    task = OpenEnvTask(**arguments(slots=2))
    sample = first(task)

    async def cancelled() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await play(task, sample, ["hang"])

    asyncio.run(cancelled())
    assert asyncio.run(play(task, sample, [digit(sample)]))[1]["done"]


def test_an_action_that_is_refused_is_told_to_the_model(served: dict[str, Any]) -> None:
    """It is data: the episode continues."""
    task = OpenEnvTask(**served, action="json")
    sample = first(task)
    replies = ["no JSON", '{"massage": "1"}', "[" * 5000, f'```json\n{{"message": "{digit(sample)}"}}\n```']
    seen, info = asyncio.run(play(task, sample, replies))
    assert "is no JSON object" in seen[1].content
    assert "massage: Extra inputs are not permitted" in seen[2].content
    assert "is no JSON object" in seen[3].content
    assert (info["refused"], info["done"]) == (3, True)


def test_a_reset_that_the_server_refuses_says_what_it_said(served: dict[str, Any]) -> None:
    """Arguments of the reset come from the configuration."""
    task = OpenEnvTask(**served, reset={"digit": 99})
    with pytest.raises(TaskError, match="fails at the reset: EXECUTION_ERROR: no such digit"):
        asyncio.run(play(task, first(task), []))
    task = OpenEnvTask(**served, reset={"digit": 7})
    assert asyncio.run(play(task, first(task), ["7"]))[1]["done"]


def test_a_command_that_does_not_serve_is_refused_with_its_last_line(arguments: Arguments) -> None:
    """Before any model is loaded."""
    for command, says in (
        ([sys.executable, "-c", "print('no licence'); raise SystemExit(4)"], "ended with code 4: no licence"),
        (["no-such-program"], "no-such-program: No such file"),
        ([sys.executable, "-c", "import time; time.sleep(60)"], "does not answer within 1 s"),
    ):
        task = OpenEnvTask(command=command, start_seconds=1 if "sleep" in command[-1] else 20)
        with pytest.raises(TaskError, match=says):
            first(task)


def test_a_server_at_an_address_is_used_as_it_is(served: dict[str, Any]) -> None:
    """Its key is read from a variable, and it keeps running."""
    url = served["url"]
    task = OpenEnvTask(url=url, train_size=2)
    sample = first(task)
    assert asyncio.run(play(task, sample, [digit(sample)]))[1]["done"]
    task.pool.end()
    assert asyncio.run(play(task, sample, [digit(sample)]))[1]["done"]
    missing = OpenEnvTask(url=url, api_key_env="NO_SUCH_KEY")
    with pytest.raises(TaskError, match="the variable NO_SUCH_KEY is not set"):
        first(missing)
    with pytest.raises(TaskError, match="does not answer at /"):
        first(OpenEnvTask(url="http://127.0.0.1:9"))


def test_the_server_ends_with_a_job_that_is_killed(arguments: Arguments, tmp_path: Path) -> None:
    """And with what it has started; it has none of the job's variables."""
    code = (
        "import json, os, signal, sys\n"
        "from pathlib import Path\n"
        "from tenyson_openenv.task import OpenEnvTask\n"
        "task = OpenEnvTask(**json.loads(sys.argv[1]))\n"
        "next(iter(task.rl_samples('train', 0)))\n"
        "guard = task.pool.first._process.pid\n"
        "child = Path(f'/proc/{guard}/task/{guard}/children').read_text().split()[0]\n"
        "print(child, b'SECRET' in Path(f'/proc/{child}/environ').read_bytes(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments())],
        env={**os.environ, "SECRET": "x"},
        capture_output=True,
        text=True,
        check=False,
    )
    child, secret = done.stdout.split()
    assert secret == "False"
    for _ in range(100):
        if not Path(f"/proc/{child}").exists():
            return
        time.sleep(0.1)
    raise AssertionError("the server is still there")


def test_samples_are_json_and_have_seeds_of_their_own(served: dict[str, Any]) -> None:
    """The run's seed changes none of them."""
    task = OpenEnvTask(**served)
    samples = list(task.rl_samples("train", 0))
    assert samples == list(task.rl_samples("train", 9))
    assert len({one.data["seed"] for one in [*samples, *task.eval_samples("eval", 0)]}) == 12
    assert all(json.loads(json.dumps(asdict(one)))["data"] == one.data for one in samples)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"url": "localhost:8000"}, "task.args.url.*is no address: write it like http://127.0.0.1:8000"),
        ({"url": "http://me:secret@host"}, "an address must hold no password"),
        ({"url": "http://host", "command": "x"}, "give one of them"),
        ({"url": "http://host", "processes": 3}, "processes would have no effect without command"),
        ({"command": "x", "api_key_env": "KEY"}, "api_key_env would have no effect without url"),
        (
            {"url": "http://host", "action": "json", "action_args": {"a": 1}},
            "action_args would have no effect",
        ),
        ({"urls": "http://host"}, "task.args.urls: .*did you mean task.args.url"),
    ],
)
def test_a_wrong_argument_is_named_with_its_key(given: dict[str, Any], says: str) -> None:
    """From the configuration and from Python alike."""
    with pytest.raises(ConfigError, match=says):
        load_task("openenv", given)
    with pytest.raises(ConfigError, match=says):
        OpenEnvTask(**given)


def test_a_reply_becomes_the_action_that_the_schema_asks_for() -> None:
    """Text, numbers, constants beside it, or whole objects."""
    two = {"properties": {"code": {"type": "string"}, "language": {"type": "string"}, "metadata": {}}}
    one = {"properties": {"column": {"type": "integer"}, "metadata": {}}}
    assert ActionReader(two, "auto", {"language": "python"}).read(" 1+1 ") == {
        "code": "1+1",
        "language": "python",
    }
    assert ActionReader(two, "auto", {}).field == "json"
    assert ActionReader(two, "code", {}).read("x") == {"code": "x"}
    assert ActionReader(one, "auto", {}).read("I take column 3.") == {"column": 3}
    with pytest.raises(RefusedError, match="holds no number"):
        ActionReader(one, "auto", {}).read("none")
    with pytest.raises(TaskError, match="no field 'langage'"):
        ActionReader(two, "code", {"langage": "python"})


def test_an_observation_is_shown_as_text_where_it_is_one() -> None:
    """Else as JSON, without what is for the trainer."""
    assert shown({"hint": "wrong", "tries": None, "metadata": {"a": 1}}, []) == "wrong"
    assert shown({"out": "1", "code": 0}, []) == '{"out": "1", "code": 0}'
    assert shown({"out": "1", "code": 0}, ["out"]) == "1"
    assert shown({"metadata": {}}, []) == ""
