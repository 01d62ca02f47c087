"""The settings of the Wordle task: what may stand under `task.args`."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tenyson.errors import ConfigError, Problem
from tenyson_wordle.rollouts.rewards import POOREST_WIN, SHAPING


class WordleSettings(BaseModel):
    """Everything that can be set about the Wordle task."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    words: str = "scowl"
    """Word list: "scowl", "tiny", or the path of a file with one word a line."""
    allowed_words: str | None = None
    """Path of a file with further words that may be guessed."""
    held_out_every: int = Field(default=10, ge=2)
    """One secret in so many is kept out of SFT and RL, chosen by its hash."""
    eval_secrets: Literal["held_out", "train"] = "held_out"
    """Secrets of the `eval` split of SFT and RL samples."""
    style: Literal["chat", "spelled", "compact"] = "chat"
    """`chat` for instruction models, `spelled` for small ones, `compact` for the tiny character model."""
    system_suffix: str = ""
    """A last line for the system prompt, such as Qwen3's "/no_think"."""
    variant: Literal["game", "constraint"] = "game"
    """`game`: whole games over several turns; `constraint`: one guess that agrees with a given board."""
    hard: bool = False
    """Hard mode: revealed hints must be used in later guesses."""
    illegal: Literal["turn", "lose"] = "turn"
    """What an illegal guess costs: its turn, or the game."""
    illegal_penalty: float = Field(default=0.1, ge=0)
    """What each illegal turn takes off the reward of a win."""
    shaping: dict[Literal["greens", "information", "format"], float] = {}
    """Weights of the shaping rewards; all are 0 unless set, and recorded in any case."""
    solver: Literal["random_consistent", "entropy"] = "random_consistent"
    """Who plays the SFT games."""
    sft_games: int = Field(default=4096, gt=0)
    """Games in the train split of the SFT samples."""
    sft_eval_games: int = Field(default=256, gt=0)
    """Games in the eval split of the SFT samples."""
    noise: float = Field(default=0.2, ge=0, le=1)
    """Share of SFT games that begin with one to three poor turns, which the model sees but is not taught."""
    rationale: bool = True
    """Chat style: write the facts on the board before the guess."""
    start_candidates: list[int] = []
    """RL curriculum: begin games in mid-play with at most so many candidates left, in equal parts; 0 is the beginning."""

    @model_validator(mode="after")
    def _shaping_stays_below_a_win(self) -> WordleSettings:
        if any(weight < 0 for weight in self.shaping.values()):
            raise ValueError("weights in shaping must not be negative")
        if sum(self.shaping.values()) >= POOREST_WIN:
            raise ValueError(
                f"the weights in shaping add up to {sum(self.shaping.values()):g}, and the poorest win pays"
                f" {POOREST_WIN:g}: games would be lost on purpose (keep the sum below {POOREST_WIN:g})"
            )
        return self

    @model_validator(mode="after")
    def _starts_are_counts(self) -> WordleSettings:
        if any(start < 0 for start in self.start_candidates):
            raise ValueError("start_candidates are numbers of words: 0, or 1 and more")
        return self


def parse(arguments: Mapping[str, Any]) -> WordleSettings:
    """Check `task.args`.

    Raises:
        ConfigError: with every problem found; an unknown key comes with the nearest valid one.
    """
    try:
        return WordleSettings.model_validate(dict(arguments))
    except ValidationError as error:
        problems = []
        for item in error.errors():
            key = ".".join(str(part) for part in item["loc"] if part != "[key]")
            known = list(SHAPING) if key.startswith("shaping.") else list(WordleSettings.model_fields)
            unknown = item["type"] == "extra_forbidden" or "[key]" in item["loc"]
            near = difflib.get_close_matches(key.rpartition(".")[2], known, n=1) if unknown else []
            cause = (
                "unknown setting of the Wordle task" if unknown else item["msg"].removeprefix("Value error, ")
            )
            problems.append(
                Problem(
                    cause,
                    key=f"task.args.{key}" if key else "task.args",
                    suggestion=f"did you mean {near[0]}?" if near else "",
                )
            )
        raise ConfigError(problems) from None
