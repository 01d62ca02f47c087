"""Runs environments of verifiers for `tenyson_verifiers.client`, in a process of `tenyson.core.workers`.

It is imported by path in the virtual environment that has verifiers and nothing of Tenyson, so it imports nothing of it.
Episodes run side by side.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import itertools
import json
import math
import os
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any

SERVED = 256
"""Episodes of one set of serving resources, which keep a client for each until they are closed."""


class Loaded:
    """One environment, and the tasks of it that were read."""

    def __init__(self, config: dict[str, Any]) -> None:
        from verifiers.v1.utils import loaders

        name = config["taskset"]["id"]
        harness = config["harness"]
        if harness is None:
            harness = {"id": name if _ships_harness(name) else "null"}
        raw = {"taskset": config["taskset"], "agent": {**config["agent"], "harness": harness}}
        resolved = loaders.resolve_env_config(raw)
        self.env = loaders.load_environment(resolved)
        if list(self.env._agent_specs) != ["agent"]:
            raise ValueError(
                f"{name} has the agents {', '.join(self.env._agent_specs)}; one agent can be trained"
            )
        self._tasks = iter(self.env.taskset)
        self._read: list[Any] = []
        self._current: Serving | None = None

    def tasks(self, first: int, number: int) -> list[Any]:
        """Those from `first` on, as many as there are of `number`."""
        missing = first + number - len(self._read)
        self._read += itertools.islice(self._tasks, max(0, missing))
        return self._read[first : first + number]

    def components(self) -> dict[str, dict[str, float] | list[str]]:
        """Weights of the rewards by name, and the names of the metrics, as far as they are known before an episode."""
        (task,) = self.tasks(0, 1)
        rewards = {fn.__name__: float(getattr(fn, "_vf_weight", 1.0)) for fn in task.hooks("reward")}
        rewards |= {judge.reward_name: float(judge.config.weight) for judge in _judges(task)}
        return {"rewards": rewards, "metrics": [fn.__name__ for fn in task.hooks("metric")]}

    @contextlib.asynccontextmanager
    async def served(self) -> AsyncIterator[Any]:
        """The environment with its tool servers and interception up."""
        if self._current is None or self._current.begun >= SERVED:
            self._current = Serving(self.env)
        async with self._current.episode() as env:
            yield env


class Serving:
    """Serving resources that episodes share, from the first of them to the last."""

    def __init__(self, env: Any) -> None:
        self._env = copy.copy(env)  # the resources are kept on the object
        self._lock = asyncio.Lock()
        self._stack = contextlib.AsyncExitStack()
        self._playing = 0
        self._up = False
        self.begun = 0

    @contextlib.asynccontextmanager
    async def episode(self) -> AsyncIterator[Any]:
        self.begun += 1
        self._playing += 1
        try:
            async with self._lock:
                if not self._up:
                    await self._stack.enter_async_context(self._env.serving())
                    self._up = True
            yield self._env
        finally:
            self._playing -= 1
            if self._playing == 0 and self.begun >= SERVED:
                await asyncio.shield(self._stack.aclose())


class Runner:
    """Answers requests, each with a coroutine function of its own."""

    def __init__(self) -> None:
        import verifiers.v1  # noqa: F401  where it is missing, the process does not start

        self._loaded: dict[str, Loaded] = {}

    async def load(self, config: dict[str, Any]) -> dict[str, Any]:
        loaded = self._of(config)
        return {
            "version": version("verifiers"),
            "bounded": bool(loaded.env.taskset.bounded),
            **loaded.components(),
        }

    async def tasks(self, config: dict[str, Any], first: int, count: int) -> list[dict[str, Any]]:
        found = []
        for task in self._of(config).tasks(first, count):
            data = task.data
            found.append(
                {
                    "name": data.id or data.name,
                    "key": task.key,
                    "system": data.system_prompt,
                    "prompt": _messages(data.prompt),
                }
            )
        return found

    async def run(
        self, config: dict[str, Any], index: int, base_url: str, api_key: str, model: str
    ) -> dict[str, Any]:
        from verifiers.v1 import EvalClientConfig, ModelContext

        loaded = self._of(config)
        (task,) = loaded.tasks(index, 1)
        variable = f"TENYSON_ENDPOINT_API_KEY_{id(asyncio.current_task())}"
        os.environ[variable] = api_key  # programs of the runtime get no variable that has API_KEY in its name
        try:
            async with loaded.served() as env:
                client = EvalClientConfig(base_url=base_url, api_key_var=variable)
                return _outcome(await env.run_episode(task, ModelContext(client=client, model=model)))
        finally:
            del os.environ[variable]

    def _of(self, config: dict[str, Any]) -> Loaded:
        key = json.dumps(config, sort_keys=True)
        if key not in self._loaded:
            self._loaded[key] = Loaded(config)
        return self._loaded[key]


def _outcome(episode: Any) -> dict[str, Any]:
    (trace,) = episode.traces or [None]
    errors = [*episode.errors, *(trace.errors if trace is not None else [])]
    outcome: dict[str, Any] = {
        "ok": bool(episode.ok),
        "errors": [
            {"kind": one.type, "message": one.message, "traceback": one.traceback or ""} for one in errors
        ],
        "rewards": {},
        "metrics": {},
        "stop": None,
        "truncated": False,
    }
    if trace is not None:
        rewards = {name: one for name, one in trace.rewards.items() if one is not None}
        outcome["rewards"] = {
            name: [_finite(one.score), _finite(one.weight)] for name, one in rewards.items()
        }
        outcome["metrics"] = {name: _finite(one) for name, one in trace.metrics.items() if one is not None}
        outcome["stop"], outcome["truncated"] = trace.stop_condition, bool(trace.is_truncated)
    return outcome


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None


def _messages(prompt: Any) -> list[dict[str, str]]:
    """The prompt as roles and texts."""
    if prompt is None or isinstance(prompt, str):
        return [{"role": "user", "content": prompt}] if prompt else []
    from verifiers.v1.types import content_text

    return [{"role": one.role, "content": content_text(one.content or "")} for one in prompt]


def _ships_harness(name: str) -> bool:
    from verifiers.v1.utils.loaders import default_harness_id

    return bool(default_harness_id(name) == name)


def _judges(task: Any) -> list[Any]:
    found = getattr(task, "judges", None)
    return list(found() if callable(found) else found or [])
