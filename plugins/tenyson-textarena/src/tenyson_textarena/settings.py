"""The settings of the task: what may stand under `task.args`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from tenyson.config.explain import nearest
from tenyson.errors import TaskError
from tenyson_textarena.setup import Setup
from tenyson_textarena.worker.client import worker

_STRICT = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class TextArenaSettings(BaseModel):
    """Everything that can be set about the task."""

    model_config = _STRICT

    env: str | None = None
    """Name of a game, such as TicTacToe-v0. Without it the task has presets, but no samples."""
    env_args: dict[str, Any] = {}
    """Arguments of the game's class, in place of those that its name has."""
    seat: Literal["first", "second", "both"] = "both"
    """Where the model sits in a two-player game; `both`: in one half of the samples first, in the other second."""
    opponent: Literal["random", "scripted", "self"] = "random"
    """Who sits opposite: `random` draws one of the legal moves, `scripted` makes the first that is legal in a fixed order, `self` is
    the model, with a conversation of its own from which nothing is learnt."""
    moves: list[str] = []
    """Moves that the opponent tries, in order. Empty: those of the game that this plugin knows, or that the game lists."""
    answer: Literal["text", "tags"] = "text"
    """What the game reads of a reply: all of it, or what stands in the last `<answer>` tags."""
    system_prompt: str | None = None
    """A text; "": none. null: with tags one that asks for them, none with text."""
    train_size: int = Field(default=1000, gt=0)
    """Samples of the train split: each is a game with a seed of its own."""
    eval_size: int = Field(default=100, gt=0)
    """Samples of the eval split."""
    seed: int = Field(default=42, ge=0, lt=2**32)
    """Which games are dealt. The run's seed changes none."""
    unfinished: float = Field(default=0.0, ge=-1e6, le=1e6)
    """Reward of a game that `generation.max_turns` or the token limit broke off."""
    step_seconds: float = Field(default=30.0, gt=0, le=3600)
    """Time that a game may take to begin, or for one move with the opponent's answer."""

    @field_validator("env")
    @classmethod
    def _is_known(cls, name: str | None) -> str | None:
        if name is None:
            return name
        games: dict[str, str | None] = worker().names()["games"]
        if name not in games:
            near = nearest(name, games)
            hint = f"did you mean {near}?" if near else f"it has {len(games)}, such as TicTacToe-v0"
            raise ValueError(f"textarena has no game {name!r}: {hint}")
        if why := games[name]:
            raise ValueError(f"{name} cannot be played offline: {why}")
        return name

    @model_validator(mode="after")
    def _can_begin(self, info: ValidationInfo) -> TextArenaSettings:
        """Deals one game for each seat, so that wrong arguments and an opponent without moves are found here."""
        if self.env is None:
            if (info.context or {}).get("for_job"):
                raise ValueError("there is no game: set env, such as TicTacToe-v0")
            if self.env_args:
                raise ValueError("env_args belong to env: set env too")
            return self
        seats = [0, 1] if self.seat == "both" else [int(self.seat == "second")]
        try:
            for seat in seats:
                found = worker().begin(self.setup(0, seat))
                worker().close(found["key"])
                if found["players"] == 1:
                    break
        except TaskError as error:
            raise ValueError(error.cause) from None
        if self.moves and self.opponent == "self":
            raise ValueError("moves would have no effect: the model moves for its opponent")
        given = self.model_fields_set & {"seat", "opponent", "moves"}
        if found["players"] == 1 and given:
            raise ValueError(f"{self.env} has one player, so {', '.join(sorted(given))} would have no effect")
        return self

    def setup(self, seed: int, seat: int) -> Setup:
        """How the game of a sample is dealt."""
        return Setup(
            game=str(self.env),
            args=self.env_args,
            seed=seed,
            seat=seat,
            opponent=self.opponent,
            moves=tuple(self.moves),
            seconds=self.step_seconds,
        )
