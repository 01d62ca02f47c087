"""WordleTask: the task as Tenyson's jobs see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from tenyson.errors import TaskError
from tenyson.tasks import Environment, Message, Metric, Preset, Reward, Rollout, Sample, TaskPlugin
from tenyson_wordle import metrics
from tenyson_wordle.game import words
from tenyson_wordle.game.board import Board, board_of, from_data
from tenyson_wordle.game.knowledge import knowledge_of
from tenyson_wordle.game.rules import Game
from tenyson_wordle.game.solver import EntropySolver, RandomConsistentSolver, Solver
from tenyson_wordle.rollouts import rewards
from tenyson_wordle.rollouts.environment import WordleEnvironment
from tenyson_wordle.rollouts.prompt import STYLES
from tenyson_wordle.samples import samples, sft
from tenyson_wordle.settings import WordleSettings, parse

PRESETS = ("tiny", "smollm2", "qwen3-0.6b", "qwen3-4b")


class WordleTask(TaskPlugin):
    """Wordle: whole games over several turns, or single guesses that agree with a board.

    Keyword arguments are those of `WordleSettings`. Splits of evaluation: "all" secrets, "train" secrets,
    "held_out" secrets; "eval" is another name for "held_out".

    Raises:
        ConfigError: an argument is unknown or wrong.
        TaskError: a word list cannot be used.
    """

    name = "wordle"
    summary = "Find a five-letter word in six guesses"
    headline = ("win_rate", "legal_guesses", "format_legal")
    settings: ClassVar[type[Any] | None] = WordleSettings
    report_helpers: ClassVar[Sequence[str]] = ("wordle",)

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.options = parse(arguments)
        self.lexicon = words.load(self.options.words, self.options.allowed_words, self.options.held_out_every)
        self._style = STYLES[self.options.style]
        self._knowledge = knowledge_of(self.lexicon.answers)
        self._single_turn = self.options.variant == "constraint"

    def sft_samples(self, split: str, seed: int) -> Iterable[Sample]:
        """Won games of the solver; "train" plays train secrets only, "eval" those that `eval_secrets` names."""
        if self._single_turn:
            raise TaskError(
                "the constraint variant of Wordle has no samples for SFT",
                next_step='Train on whole games first: task.args.variant = "game".',
            )
        options = self.options
        return sft.samples(
            self._solver(),
            self._training_secrets(split),
            self._style,
            self._opening(),
            games=options.sft_games if split == "train" else options.sft_eval_games,
            noise=options.noise,
            with_rationale=options.rationale,
            hard=options.hard,
            seed=f"{split}:{seed}",
        )

    def rl_samples(self, split: str, seed: int) -> Iterable[Sample]:
        """One game for each secret and each start of the curriculum."""
        secrets = self._training_secrets(split)
        if self._single_turn:
            return [samples.one_guess(s, self.lexicon, self._style, self._opening()) for s in secrets]
        return samples.rl_samples(
            secrets,
            self.lexicon,
            self._style,
            self._opening(),
            self.options.start_candidates,
            hard=self.options.hard,
            seed=seed,
        )

    def eval_samples(self, split: str, seed: int) -> Iterable[Sample]:  # noqa: ARG002
        """One game from the beginning for each secret of the split; the same games in the same order for any seed."""
        splits: dict[str, words.Split] = {
            "eval": "held_out",
            "held_out": "held_out",
            "train": "train",
            "all": "all",
        }
        if split not in splits:
            raise TaskError(
                f"Wordle has no evaluation split {split!r}",
                place="evaluation.split",
                next_step=f"Take one of {', '.join(sorted(splits))}.",
            )
        secrets = self.lexicon.secrets(splits[split])
        if self._single_turn:
            return [samples.one_guess(s, self.lexicon, self._style, self._opening()) for s in secrets]
        return [samples.whole_game(secret, self._opening()) for secret in secrets]

    def environment(self, sample: Sample) -> Environment | None:
        """A game on the sample's secret that stands where its prompt stops."""
        return None if self._single_turn else WordleEnvironment(self._game(sample), self._style)

    def rewards(self) -> Sequence[Reward]:
        """`win` (`constraint` in the single-turn variant), and the shaping components, weightless by default."""
        return rewards.components(
            self.board,
            self._knowledge,
            single_turn=self._single_turn,
            illegal_penalty=self.options.illegal_penalty,
            shaping={str(name): weight for name, weight in self.options.shaping.items()},
        )

    def metrics(self, rollouts: Sequence[Rollout]) -> Mapping[str, Metric]:
        """See the module `metrics`."""
        games = [(rollout.sample.id, self.board(rollout)) for rollout in rollouts]
        if self._single_turn:
            return metrics.of_guesses([board for _, board in games])
        return metrics.of_games(games, self.lexicon, self._knowledge)

    def provenance(self) -> Mapping[str, str]:
        """Word list, its hashes, and the rule of the split."""
        return self.lexicon.provenance

    def board(self, rollout: Rollout) -> Board:
        """How a rollout went."""
        return board_of(rollout, self._style, self._game(rollout.sample))

    @classmethod
    def presets(cls) -> Mapping[str, Preset]:
        """`tiny` first."""
        with resources.as_file(resources.files("tenyson_wordle") / "presets") as folder:
            return {name: Preset.from_file(Path(folder) / f"{name}.yaml") for name in PRESETS}

    def _opening(self) -> list[Message]:
        return self._style.opening(hard=self.options.hard, suffix=self.options.system_suffix)

    def _training_secrets(self, split: str) -> list[str]:
        if split not in ("train", "eval"):
            raise TaskError(f"Wordle has no training split {split!r}", next_step='Take "train" or "eval".')
        return self.lexicon.secrets("train" if split == "train" else self.options.eval_secrets)

    def _solver(self) -> Solver:
        # Consistent play only: it is what hard mode demands, and what a model can learn to imitate.
        if self.options.solver == "entropy":
            return EntropySolver(self.lexicon, pool=())
        return RandomConsistentSolver(self.lexicon)

    def _game(self, sample: Sample) -> Game:
        options = self.options
        game = Game(
            sample.data["secret"],
            self.lexicon.allowed,
            hard=options.hard,
            illegal_loses=options.illegal == "lose",
        )
        game.turns.extend(from_data(sample.data.get("given", ())))
        return game
