"""OpenEnvTask: the environment of OpenEnv servers as Tenyson's jobs see it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from typing import Any, ClassVar

from tenyson import rewards
from tenyson.errors import ConfigError, TaskError
from tenyson.plugins.settings import settings_problems
from tenyson.tasks import Environment, Metric, Reward, Rollout, Sample, TaskPlugin
from tenyson_openenv.action import ActionReader
from tenyson_openenv.environment import OpenEnvEnvironment
from tenyson_openenv.pool import Pool, pool_of
from tenyson_openenv.settings import OpenEnvSettings


class OpenEnvTask(TaskPlugin):
    """Episodes of one environment, each with a seed of its own. Splits: "train" and "eval".

    Keyword arguments are those of `OpenEnvSettings`. Nothing is started or asked before samples are read.

    Raises:
        ConfigError: an argument is unknown or wrong.
    """

    name = "openenv"
    summary = "The environment of any OpenEnv server, by its address or started as a process"
    headline = ("reward", "done", "refused")
    settings: ClassVar[type[Any] | None] = OpenEnvSettings

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if found := settings_problems(OpenEnvSettings, arguments, ("task", "args")):
            raise ConfigError(found)
        self.options = OpenEnvSettings(**arguments)

    def rl_samples(self, split: str, seed: int) -> Iterable[Sample]:  # noqa: ARG002
        """The seeds of the episodes; the same ones for any seed of the run. Raises: TaskError: no server answers."""
        options = self.options
        if split not in ("train", "eval"):
            raise TaskError(
                f"the task openenv has no split {split!r}",
                place="evaluation.split",
                next_step='Take "train" or "eval".',
            )
        for index in range(options.train_size if split == "train" else options.eval_size):
            drawn = int(sha256(f"{options.seed}/{split}/{index}".encode()).hexdigest()[:8], 16) >> 1
            yield Sample(
                id=f"{self._title}/{split}/{index}-{drawn:08x}",
                prompt=[{"role": "user", "content": self._instruction}],
                data={"split": split, "index": index, "seed": drawn},
            )

    eval_samples = rl_samples

    def environment(self, sample: Sample) -> Environment:
        """The sample's episode."""
        data = {"seed": sample.data["seed"], **self.options.reset}
        return OpenEnvEnvironment(lambda: self.pool, lambda: self._reader, data, self.options.show)

    def rewards(self) -> Sequence[Reward]:
        """`environment`: the sum of the steps' rewards; `refused`, only recorded: actions that the server did not take."""
        return [
            rewards.environment(),
            Reward("refused", lambda rollout: float(rollout.info["refused"]), 0.0),
        ]

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        """Means over episodes: `reward`, `steps`, `refused`; `done` is the share of those that ended by themselves."""
        return {
            "reward": Metric.mean([float(sum(one.step_rewards)) for one in rollouts]),
            "steps": Metric.mean([float(one.info["steps"]) for one in rollouts]),
            "refused": Metric.mean([float(one.info["refused"]) for one in rollouts]),
            "done": Metric.proportion(sum(bool(one.info["done"]) for one in rollouts), len(rollouts)),
        }

    def provenance(self) -> Mapping[str, str]:
        """What the server says of itself, and a hash of its schema and of the settings."""
        names = {"url", "env", "cwd", "command", "pass_env", "api_key_env", "processes"}
        text = json.dumps([self._schema, self.options.model_dump(mode="json", exclude=names)], sort_keys=True)
        about = {key: str(self._metadata[key]) for key in ("name", "version") if self._metadata.get(key)}
        return about | {"config_sha256": sha256(text.encode()).hexdigest()}

    @cached_property
    def pool(self) -> Pool:
        """The servers; processes are started with the first use. Raises: TaskError: none is set, or one does not start."""
        if not self.options.url and not self.options.command:
            raise TaskError(
                "the task openenv has no server",
                place="task.args",
                next_step="Set task.args.url, such as http://127.0.0.1:8000, or task.args.command.",
            )
        pool = pool_of(self.options)
        pool.start()
        return pool

    @cached_property
    def _schema(self) -> dict[str, Any]:
        found = self.pool.first.describe("/schema").get("action")
        return found if isinstance(found, dict) else {}

    @cached_property
    def _metadata(self) -> dict[str, Any]:
        return self.pool.first.describe("/metadata")

    @cached_property
    def _reader(self) -> ActionReader:
        return ActionReader(self._schema, self.options.action, self.options.action_args)

    @cached_property
    def _title(self) -> str:
        """The environment's name, as ids may hold it."""
        name = str(self._metadata.get("name") or "openenv")
        return "".join(one if one.isascii() and (one.isalnum() or one in "-_.") else "-" for one in name)[:60]

    @cached_property
    def _instruction(self) -> str:
        if self.options.prompt is not None:
            return self.options.prompt
        about = [str(self._metadata[key]) for key in ("name", "description") if self._metadata.get(key)]
        reader = self._reader
        if reader.field == "json":
            how = f"Reply with one JSON object that fits this schema: {json.dumps(reader.schema)}"
        else:
            how = f"Your reply is the field {reader.field} of your action" + (
                f": {reader.about}" if reader.about else "."
            )
        return "\n".join([": ".join(about), how] if about else [how])
