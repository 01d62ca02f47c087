"""Match: one game under way, seen from the model's seat. The opponent's moves are made here."""

from __future__ import annotations

import copy
import random
from typing import Any

import textarena
from textarena.core import ObservationType, ObservationWrapper
from textarena.envs.registration import ENV_REGISTRY

from tenyson_textarena.worker.moves import TRIES, candidates, legal
from tenyson_textarena.worker.randomness import Randomness

MOVES = 2000
"""Moves of a game, after which it is taken for one that does not end."""


class WithoutOwnReplies(ObservationWrapper):  # type: ignore[misc]
    """Leaves out what the player said: the conversation has it, word for word."""

    def observation(self, player_id: int, observation: Any) -> list[Any]:
        """The messages of others."""
        own = (player_id, ObservationType.PLAYER_ACTION)
        return [one for one in observation or [] if (one[0], one[2]) != own]


class Match:
    """A game that is dealt by `setup`, the fields of `tenyson_textarena.setup.Setup`.

    Raises: whatever the game raises; LookupError: no legal move is found for the opponent.
    """

    def __init__(self, setup: dict[str, Any]) -> None:
        self.taken = 0
        """Replies that were taken."""
        self.over: dict[str, Any] | None = None
        self.turn = 0
        """Whose move the next reply is."""
        self._setup = setup
        self._randomness = Randomness(setup["seed"])
        self._opponent = random.Random(f"opponent/{setup['seed']}")
        self._shown: dict[int, list[str]] = {}
        self._last: dict[int, str] = {}
        with self._randomness:
            self._game, self.players = _deal(setup)
            self._env = _wrapped(self._game, setup["game"])
            self.seat = setup["seat"] if self.players == 2 else 0
            self.text = self._until_own_turn()

    def take(self, reply: str) -> None:
        """Make a move of the model, and the opponent's where that is another. A game that raises on the reply counts it as an invalid move."""
        self.taken += 1
        if self.over is not None:
            return
        with self._randomness:
            try:
                done, _ = self._env.step(reply)
            except Exception as error:
                self.over = self._outcome(raised=f"{type(error).__name__}: {error}"[:300])
                return
            self.text = self._ended() if done else self._until_own_turn()

    def random_move(self, draw: random.Random) -> str:
        """A legal move of whoever is to move. Raises: LookupError: none is found."""
        with self._randomness:
            return self._legal_move(draw)

    def opening(self) -> str:
        """What the model's player has been told, before anything is said."""
        if self.over is not None or self.turn == self.seat:
            return self.text
        copied = copy.deepcopy(self._env)
        copied.state.current_player_id = self.seat
        return str(copied.get_observation()[1]).strip()

    def _until_own_turn(self) -> str:
        """Let the opponent move until it is the model's turn. Returns: what the model is shown."""
        for _ in range(MOVES):
            seat = self._env.state.current_player_id
            text = self._observed(seat)
            if seat == self.seat or self._setup["opponent"] == "self":
                self.turn = seat
                return text
            scripted = self._setup["opponent"] == "scripted"
            done, _ = self._env.step(self._legal_move(None if scripted else self._opponent))
            if done:
                return self._ended()
        raise RuntimeError(f"the opponent has made {MOVES} moves in a row")

    def _legal_move(self, draw: random.Random | None) -> str:
        found = list(self._setup["moves"]) or candidates(
            self._game, self._shown.get(self._env.state.current_player_id, [])
        )
        if draw is not None:
            draw.shuffle(found)
        for move in found[:TRIES]:
            if legal(self._game, move):
                return str(move)
        raise LookupError(f"none of {len(found)} moves is legal: give task.args.moves")

    def _observed(self, seat: int) -> str:
        """What is new for a player: wrappers give all that was shown so far, or a text of its own for each turn."""
        text = str(self._env.get_observation()[1])
        before, self._last[seat] = self._last.get(seat, ""), text
        new = text[len(before) :] if before and text.startswith(before) else text
        new = new.strip() or text.strip()
        self._shown.setdefault(seat, []).append(new)
        return new

    def _ended(self) -> str:
        self.over = self._outcome()
        return ""

    def _outcome(self, raised: str = "") -> dict[str, Any]:
        state = self._env.state
        rewards = dict(state.rewards or {})
        if raised:
            rewards = {self.turn: -1.0, 1 - self.turn: 1.0}
        mine = float(rewards.get(self.seat, 0.0))
        other = float(rewards.get(1 - self.seat, 0.0)) if self.players == 2 else None
        about = state.game_info.get(self.seat, {})
        return {
            "reward": mine,
            "opponent_reward": other,
            "reason": raised or str(about.get("reason", "")),
            "invalid": bool(about.get("invalid_move") or (raised and self.turn == self.seat)),
            "raised": raised,
        }


def _deal(setup: dict[str, Any]) -> tuple[Any, int]:
    """The game without wrappers, and its number of players: one where it takes that, else two."""
    refusals = []
    for players in (1, 2):
        random.seed(setup["seed"])
        game = textarena.make(_raw(setup["game"]), **setup["args"])
        try:
            game.reset(num_players=players, seed=setup["seed"])
        except (AssertionError, ValueError) as error:
            refusals.append(str(error) or type(error).__name__)
            continue
        if players == 1 and not isinstance(game.state, textarena.SinglePlayerState):
            continue  # it takes any number, and one player is no game
        return game, players
    raise ValueError(f"{setup['game']} takes neither one player nor two: {refusals[-1]}")


def _raw(name: str) -> str:
    """The game's name without wrappers."""
    for end in ("-train", "-raw"):
        name = name.removesuffix(end)
    return f"{name}-raw" if f"{name}-raw" in ENV_REGISTRY else name


def _wrapped(game: Any, name: str) -> Any:
    """The game with the wrappers of its name, which see no reply of the player's own."""
    env = WithoutOwnReplies(game)
    for wrapper in ENV_REGISTRY[name].default_wrappers or [textarena.wrappers.LLMObservationWrapper]:
        env = wrapper(env)
    return env
