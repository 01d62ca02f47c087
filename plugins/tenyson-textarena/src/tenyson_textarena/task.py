"""TextArenaTask: the games of textarena as Tenyson's jobs see them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from tenyson.errors import ConfigError, TaskError
from tenyson.plugins.settings import settings_problems
from tenyson.tasks import Endpoint, Environment, Message, Metric, Preset, Reward, Rollout, Sample, TaskPlugin
from tenyson_textarena import metrics
from tenyson_textarena.environment import GameEnvironment
from tenyson_textarena.outcome import outcome
from tenyson_textarena.self_play import play_itself
from tenyson_textarena.settings import TextArenaSettings
from tenyson_textarena.setup import Setup
from tenyson_textarena.worker.client import worker

PRESETS = ("tiny",)
TAGS = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
ASK_FOR_TAGS = "Think before you move. Then give your move between <answer> and </answer>."


class TextArenaTask(TaskPlugin):
    """Games of one kind, each dealt by a seed of its own. Splits: "train" and "eval".

    Keyword arguments are those of `TextArenaSettings`.

    Raises:
        ConfigError: an argument is unknown or wrong.
    """

    name = "textarena"
    summary = "Any single-player game of textarena, and two-player ones against an opponent"
    headline = ("reward", "won", "invalid")
    settings: ClassVar[type[Any] | None] = TextArenaSettings

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if found := settings_problems(TextArenaSettings, arguments, ("task", "args")):
            raise ConfigError(found)
        self.options = TextArenaSettings(**arguments)
        if self.options.opponent == "self":
            self.agent = self._play_itself  # type: ignore[method-assign]

    def sft_samples(self, split: str, seed: int) -> Iterable[Sample]:  # noqa: ARG002
        """Games of random legal moves that the model's seat has won: they teach the form of a move, and little of playing.

        Raises: TaskError: none of them was won, or no legal moves of the game are known.
        """
        won = False
        for sample, setup in self._dealt(split, "random" if self.options.opponent == "self" else None):
            if turns := worker().demonstrate(setup)["turns"]:
                won = True
                yield Sample(sample.id, sample.prompt, self._completion(turns), sample.data)
        if not won:
            raise TaskError(
                f"{self.options.env}: random moves win none of the games, so there is nothing to imitate",
                next_step="Train with RL, or set train_size higher.",
            )

    def rl_samples(self, split: str, seed: int) -> Iterable[Sample]:  # noqa: ARG002
        """The openings of the games; the same ones for any seed of the run."""
        return (sample for sample, _ in self._dealt(split))

    eval_samples = rl_samples

    def environment(self, sample: Sample) -> Environment | None:
        """The sample's game; None with self-play, where an agent plays it."""
        if self.options.opponent == "self":
            return None
        data = sample.data
        return GameEnvironment(
            self.options.setup(data["seed"], data["seat"]), sample.prompt[-1]["content"], self._move
        )

    def rewards(self) -> Sequence[Reward]:
        """`game`: the game's own reward of the model's seat; `invalid`, only recorded: whether an invalid move ended it."""
        return [
            Reward("game", self._reward),
            Reward("invalid", lambda rollout: float(outcome(rollout)["invalid"]), 0.0),
        ]

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        """See the module `metrics`."""
        return metrics.outcomes(rollouts, [self._reward(rollout) for rollout in rollouts])

    def provenance(self) -> Mapping[str, str]:
        """Version of textarena, the game, and a hash of everything that decides how games are dealt."""
        text = json.dumps(self.options.model_dump(mode="json"), sort_keys=True)
        return {
            "textarena": str(worker().names()["version"]),
            "game": str(self.options.env),
            "config_sha256": sha256(text.encode()).hexdigest(),
        }

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """`tiny` first."""
        with resources.as_file(resources.files("tenyson_textarena") / "presets") as folder:
            return {name: Preset.from_file(Path(folder) / f"{name}.yaml") for name in PRESETS}

    def _play_itself(self, sample: Sample, endpoint: Endpoint) -> dict[str, Any]:
        setup = self.options.setup(sample.data["seed"], sample.data["seat"])
        return play_itself(setup, self._instruction(), self._move, endpoint)

    def _dealt(self, split: str, opponent: str | None = None) -> Iterator[tuple[Sample, Setup]]:
        """Samples, and how their games are dealt; `opponent`: another one than the settings'."""
        options = self.options
        if split not in ("train", "eval"):
            raise TaskError(
                f"the task textarena has no split {split!r}",
                place="evaluation.split",
                next_step='Take "train" or "eval".',
            )
        if options.env is None:
            raise TaskError(
                "the task textarena has no game",
                place="task.args",
                next_step="Set task.args.env, such as TicTacToe-v0.",
            )
        for index in range(options.train_size if split == "train" else options.eval_size):
            seed = int(sha256(f"{options.seed}/{split}/{index}".encode()).hexdigest()[:8], 16)
            seat = {"first": 0, "second": 1, "both": index % 2}[options.seat]
            setup = options.setup(seed, seat)
            setup = replace(setup, opponent=opponent or setup.opponent)
            found = worker().begin(setup)
            worker().close(found["key"])
            if found["over"] is not None:
                continue  # the opponent's first move has ended it
            digest = sha256(json.dumps([found["opening"], found["seat"], seed]).encode()).hexdigest()[:8]
            yield (
                Sample(
                    id=f"{options.env}/{split}/{index}-{digest}",
                    prompt=[*self._instruction(), {"role": "user", "content": found["opening"]}],
                    data={"split": split, "seed": seed, "seat": found["seat"], "index": index},
                ),
                setup,
            )

    def _instruction(self) -> list[Message]:
        text = self.options.system_prompt
        if text is None:
            text = ASK_FOR_TAGS if self.options.answer == "tags" else ""
        return [{"role": "system", "content": text}] if text else []

    def _completion(self, turns: Sequence[tuple[str, str]]) -> list[Message]:
        messages: list[Message] = []
        for move, answer in turns:
            said = f"<answer>{move}</answer>" if self.options.answer == "tags" else move
            messages.append({"role": "assistant", "content": said})
            if answer:
                messages.append({"role": "user", "content": answer})
        return messages

    def _move(self, reply: str) -> str:
        """What the game reads of a reply; nothing, which no game takes for a move, where tags are missing."""
        if self.options.answer == "text":
            return reply
        found = TAGS.findall(reply)
        return str(found[-1]).strip() if found else ""

    def _reward(self, rollout: Rollout) -> float:
        reward = outcome(rollout)["reward"]
        return self.options.unfinished if reward is None else float(reward)
