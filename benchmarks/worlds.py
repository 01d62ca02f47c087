"""Waiting for the world: 64 environments that sleep in a turn, and 64 judged rewards, here and in TRL's own loop.

The model costs nothing: its replies are given. Our side is `play` and `score_all`, as RLJob calls them. TRL's side is
`GRPOTrainer._tool_call_loop` and `GRPOTrainer._calculate_rewards` of the installed version, called on a trainer that has only what they
read; its environments are tools, as TRL's are, and its reward function asks the judge about one completion after the other, as TRL's
examples do, or, with `gather`, about all of them at once.

    python benchmarks/worlds.py [--rollouts 64] [--turn-seconds 0.5] [--judge-seconds 0.3] [--runs 3]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PROMPT: Any = [{"role": "user", "content": "go"}]


def renderer(folder: Path) -> Any:
    """Of the tiny model."""
    from transformers import AutoTokenizer

    from tenyson.engines.renderers import Renderer
    from tenyson.testing.tiny import build

    build(folder, 0)
    return Renderer(AutoTokenizer.from_pretrained(folder))


def environments(rollouts: int, seconds: float, kind: str, render: Any) -> float:
    """Seconds of one turn of our environments, `async` or blocking."""
    from tenyson.engines.engine import Reply
    from tenyson.engines.play import play
    from tenyson.tasks import Environment, Observation, Sample, TaskPlugin

    class Waiting(Environment):
        async def step(self, reply: str) -> Observation:  # noqa: ARG002
            await asyncio.sleep(seconds)
            return Observation(done=True)

    class Blocking(Environment):
        def step(self, reply: str) -> Observation:  # noqa: ARG002
            time.sleep(seconds)
            return Observation(done=True)

    class Slow(TaskPlugin):
        def environment(self, sample: Sample) -> Environment:  # noqa: ARG002
            return Waiting() if kind == "async" else Blocking()

    reply = Reply(render.reply("a"), "stop")
    samples = [Sample(str(number), PROMPT) for number in range(rollouts)]
    begun = time.monotonic()
    played = play(Slow(), samples, render, lambda prompts, _: [reply] * len(prompts), max_turns=2)
    elapsed = time.monotonic() - begun
    assert all(one.rollout.error is None for one in played)
    return elapsed


def rewards(rollouts: int, seconds: float) -> float:
    """Seconds of our judged rewards."""
    from tenyson.engines.rollouts.scoring import score_all
    from tenyson.tasks import Reward, Rollout, Sample

    async def judged(rollout: Rollout) -> float:  # noqa: ARG001
        await asyncio.sleep(seconds)
        return 1.0

    played = [Rollout(Sample(str(number), PROMPT), ()) for number in range(rollouts)]
    begun = time.monotonic()
    scored = score_all([Reward("judged", judged)], played)
    elapsed = time.monotonic() - begun
    assert all(one.reward == 1.0 for one in scored)
    return elapsed


SERVER = """
import json, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        time.sleep(float(sys.argv[1]))
        message = {"role": "assistant", "content": "It is.\\nPoints: 1"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        usage = {"prompt_tokens": 100, "completion_tokens": 5, "total_tokens": 105}
        found = {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        text = json.dumps(found).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

class Server(ThreadingHTTPServer):
    request_queue_size = 256

server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def judged(rollouts: int, port: int) -> float:
    """Seconds of rewards by `rewards.judge`, whose endpoint is a process on loopback; no answer is known from before."""
    from tenyson import rewards as ready
    from tenyson.engines.rollouts.limits import Limits
    from tenyson.engines.rollouts.scoring import score_all
    from tenyson.tasks import Message, Rollout, Sample

    model = ready.JudgeModel(
        name="m", url=f"http://127.0.0.1:{port}/v1", api_key_env=None, concurrency=rollouts
    )
    said = [f"answer {number} {time.monotonic_ns()}" for number in range(rollouts)]
    played = [
        Rollout(Sample(str(number), PROMPT), [Message(role="assistant", content=text)])
        for number, text in enumerate(said)
    ]
    begun = time.monotonic()
    scored = score_all(
        [ready.judge(model, rubric={"It is good.": 1})], played, limits=Limits(concurrency=rollouts)
    )
    elapsed = time.monotonic() - begun
    assert all(one.reward == 1.0 for one in scored), scored[0]
    return elapsed


class TrlTrainer:
    """What two methods of TRL's trainer read."""

    def __init__(self, **attributes: Any) -> None:
        from trl import GRPOTrainer

        self.theirs = GRPOTrainer
        self.async_loop = asyncio.new_event_loop()
        threading.Thread(target=self.async_loop.run_forever, daemon=True).start()
        self.use_vllm = self._is_vlm = False
        self.environments = self.environment_factories = None
        self.__dict__.update(attributes)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.theirs, name)


def trl_tools(rollouts: int, seconds: float, kind: str) -> float:
    """Seconds of TRL's loop over one call of a tool for each rollout."""

    async def wait() -> str:
        await asyncio.sleep(seconds)
        return "done"

    def block() -> str:
        time.sleep(seconds)
        return "done"

    class Replied(BaseException):
        """The tools have answered, and the model is asked again."""

    def asked(*_: Any, **__: Any) -> None:
        raise Replied

    tools = [{"act": wait}, {}] if kind == "async" else [{}, {"act": block}]
    trainer = TrlTrainer(
        max_tool_calling_iterations=1,
        max_completion_length=100,
        model=SimpleNamespace(config=SimpleNamespace(max_position_embeddings=1000)),
        tools=[wait],
        _async_tool_dicts=[tools[0]] * rollouts,
        _sync_tool_dicts=[tools[1]] * rollouts,
        _get_tool_suffix_ids=lambda _: [1],
        _generate_single_turn=asked,
    )
    call = {"type": "function", "function": {"name": "act", "arguments": {}}}
    said = [[{"role": "assistant", "content": "", "tool_calls": [call]}] for _ in range(rollouts)]
    begun = time.monotonic()
    try:
        trainer.theirs._tool_call_loop(
            trainer,
            [list(PROMPT) for _ in range(rollouts)],
            [[1]] * rollouts,
            [[1]] * rollouts,
            said,
            None,
            None,
            {},
        )
    except Replied:
        return time.monotonic() - begun
    raise RuntimeError("TRL's loop did not ask again")


def trl_rewards(rollouts: int, seconds: float, kind: str) -> float:
    """Seconds of TRL's rewards."""
    from accelerate import Accelerator

    async def one() -> float:
        await asyncio.sleep(seconds)
        return 1.0

    async def gathered(completions: list[Any], **_: Any) -> list[float]:
        return await asyncio.gather(*(one() for _ in completions))

    def in_turn(completions: list[Any], **_: Any) -> list[float]:
        found = []
        for _ in completions:
            time.sleep(seconds)
            found.append(1.0)
        return found

    function = gathered if kind == "gather" else in_turn
    trainer = TrlTrainer(
        accelerator=Accelerator(cpu=True),
        reward_funcs=[function],
        reward_processing_classes=[None],
        reward_func_names=["judged"],
        state=SimpleNamespace(global_step=0),
        args=SimpleNamespace(report_to=[]),
        model=SimpleNamespace(training=True),
        _metrics={"train": defaultdict(list)},
        _log_completion_extra=None,
        _log_metric=None,
    )
    inputs = [{"prompt": PROMPT} for _ in range(rollouts)]
    begun = time.monotonic()
    trainer.theirs._calculate_rewards(
        trainer, inputs, [PROMPT] * rollouts, [PROMPT] * rollouts, [[1]] * rollouts
    )
    return time.monotonic() - begun


def main() -> int:
    """Print a row for each side."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rollouts", type=int, default=64)
    parser.add_argument("--turn-seconds", type=float, default=0.5)
    parser.add_argument("--judge-seconds", type=float, default=0.3)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    n, turn, judge = options.rollouts, options.turn_seconds, options.judge_seconds
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(judge)], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    port = int(server.stdout.readline())
    with tempfile.TemporaryDirectory() as folder:
        os.environ["TENYSON_CACHE"] = str(Path(folder) / "cache")
        render = renderer(Path(folder) / "model")
        judged(1, port)  # imports the openai package
        rows: dict[str, Callable[[], float]] = {
            f"{n} async environments of {turn:g} s, Tenyson": lambda: environments(n, turn, "async", render),
            f"{n} blocking environments of {turn:g} s, Tenyson": lambda: environments(
                n, turn, "blocking", render
            ),
            f"{n} async tools of {turn:g} s, TRL": lambda: trl_tools(n, turn, "async"),
            f"{n} blocking tools of {turn:g} s, TRL": lambda: trl_tools(n, turn, "blocking"),
            f"{n} async rewards of {judge:g} s, Tenyson": lambda: rewards(n, judge),
            f"{n} judges of {judge:g} s on loopback, Tenyson": lambda: judged(n, port),
            f"{n} rewards of {judge:g} s, TRL, one after the other": lambda: trl_rewards(n, judge, "in turn"),
            f"{n} rewards of {judge:g} s, TRL, all in one `gather`": lambda: trl_rewards(n, judge, "gather"),
        }
        times: dict[str, list[float]] = {name: [] for name in rows}
        for _ in range(options.runs):
            for name, run in rows.items():
                times[name].append(run())
    server.kill()
    width = max(map(len, rows))
    for name, found in times.items():
        print(f"{name:{width}}  {statistics.median(found):6.2f} s  {[round(one, 2) for one in found]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
