"""VerifiersTask: an environment of verifiers as Tenyson's jobs see it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any, ClassVar

from tenyson.errors import ConfigError, TaskError
from tenyson.plugins.settings import settings_problems
from tenyson.tasks import Endpoint, Message, Metric, Reward, Rollout, Sample, TaskPlugin
from tenyson_verifiers import components
from tenyson_verifiers.client import Client, client
from tenyson_verifiers.settings import VerifiersSettings

CHUNK = 64
"""Tasks of one request."""


class VerifiersTask(TaskPlugin):
    """Tasks of one taskset, each played by a harness of verifiers against the model's endpoint. Splits: "train" and "eval".

    Keyword arguments are those of `VerifiersSettings`. Nothing is loaded before samples or rewards are asked for.

    Raises:
        ConfigError: an argument is unknown or wrong.
    """

    name = "verifiers"
    summary = "Any installed environment of verifiers, in a virtual environment of its own"
    headline = ("reward",)
    settings: ClassVar[type[Any] | None] = VerifiersSettings

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if found := settings_problems(VerifiersSettings, arguments, ("task", "args")):
            raise ConfigError(found)
        self.options = VerifiersSettings(**arguments)

    def rl_samples(self, split: str, seed: int) -> Iterable[Sample]:  # noqa: ARG002
        """The taskset's tasks; the same ones in the same order for any seed of the run. Raises: TaskError."""
        found = False
        for index, task in self._tasks(split):
            found = True
            yield self._sample(split, index, task)
        if not found:
            raise TaskError(
                f"{self.options.env} has no tasks for the split {split}",
                place="task.args",
                next_step="Set eval_size lower, or eval_args.",
            )

    eval_samples = rl_samples

    async def agent(self, sample: Sample, endpoint: Endpoint) -> dict[str, Any]:
        """Play the sample's task. Returns: its rewards and metrics. Raises: TaskError: it failed."""
        data = sample.data
        outcome: dict[str, Any] = await self._client.run(
            config=self.options.config(data["split"]),
            index=data["index"],
            base_url=endpoint.base_url,
            api_key=endpoint.api_key,
            model=endpoint.model,
        )
        if not outcome["ok"]:
            last = (outcome["errors"] or [{"kind": "Error", "message": "the episode failed"}])[-1]
            words = " ".join(str(last["message"]).replace(endpoint.api_key, "***").split())
            raise TaskError(f"verifiers: {last['kind']}: {words[:500]}")
        return {name: outcome[name] for name in ("rewards", "metrics", "stop", "truncated")}

    def rewards(self) -> Sequence[Reward]:
        """The environment's rewards and metrics by name; see the module `components`."""
        return components.rewards(self._about["rewards"], self._about["metrics"])

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        """`reward`, the sum that verifiers computes, and `truncated`, a share; also the mean of each component."""
        return {
            "reward": Metric.mean([components.total(one) for one in rollouts]),
            "truncated": Metric.proportion(
                sum(bool(components.result(one).get("truncated")) for one in rollouts), len(rollouts)
            ),
            **super().metrics(rollouts),
        }

    def provenance(self) -> Mapping[str, str]:
        """Version of verifiers, the environment, and a hash of its configuration."""
        text = json.dumps([self.options.config("train"), self.options.config("eval")], sort_keys=True)
        return {
            "verifiers": str(self._about["version"]),
            "environment": str(self.options.env),
            "config_sha256": sha256(text.encode()).hexdigest(),
        }

    @cached_property
    def _client(self) -> Client:
        if self.options.env is None:
            raise TaskError(
                "the task verifiers has no environment",
                place="task.args",
                next_step="Set task.args.env, such as gsm8k-v1.",
            )
        return client(self.options.python, tuple(self.options.pass_env))

    @cached_property
    def _about(self) -> dict[str, Any]:
        if self.options.env is None:
            return {"rewards": {}, "metrics": [], "version": ""}
        found: dict[str, Any] = self._client.ask(
            "load", self.options.load_seconds, config=self.options.config("train")
        )
        return found

    def _tasks(self, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        """Index and task, in order."""
        options = self.options
        if split not in ("train", "eval"):
            raise TaskError(
                f"the task verifiers has no split {split!r}",
                place="evaluation.split",
                next_step='Take "train" or "eval".',
            )
        apart = options.eval_args is not None
        first = 0 if apart or split == "eval" else options.eval_size
        number = options.train_size if split == "train" else options.eval_size
        for begin in range(first, first + number, CHUNK):
            wanted = min(CHUNK, first + number - begin)
            found = self._client.ask(
                "tasks", options.load_seconds, config=options.config(split), first=begin, count=wanted
            )
            yield from enumerate(found, begin)
            if len(found) < wanted:
                return

    def _sample(self, split: str, index: int, task: Mapping[str, Any]) -> Sample:
        prompt: list[Message] = [{"role": "system", "content": task["system"]}] if task["system"] else []
        prompt += task["prompt"]
        if not any(message["role"] == "user" for message in prompt):
            prompt.append({"role": "user", "content": f"(task {index} of {self.options.env})"})
        return Sample(
            id=f"{self.options.env}/{split}/{index}-{str(task['key'])[:8]}",
            prompt=prompt,
            data={"split": split, "index": index, "key": task["key"], "name": task["name"]},
        )
