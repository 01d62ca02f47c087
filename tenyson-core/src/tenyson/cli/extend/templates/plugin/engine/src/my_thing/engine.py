"""The engine: token ids in, token ids out."""

import random
from collections.abc import Sequence

from tenyson.engines import EngineSpec, Reply, Sampling
from tenyson.errors import ConfigError

from my_thing.chain import TOKENS, weights_after
from my_thing.drawing import draw_token


class MyThingEngine:
    """Follows a chain of tokens. It follows the protocol tenyson.engines.Engine."""

    name = "my-thing"

    def __init__(self, spec: EngineSpec) -> None:
        self.spec = spec

    def generate(self, prompts: Sequence[Sequence[int]], sampling: Sampling) -> list[Reply]:
        """One reply for each prompt, in order."""
        if sampling.repetition_penalty != 1:
            raise ConfigError(f"generation.repetition_penalty: the engine {self.name} has none")
        return [self._reply(prompt, sampling, row) for row, prompt in enumerate(prompts)]

    def close(self) -> None:
        """Nothing to free."""

    def _reply(self, prompt: Sequence[int], sampling: Sampling, row: int) -> Reply:
        draw = random.Random(f"{sampling.seed} {row}")
        ids: list[int] = []
        while len(ids) < sampling.max_new_tokens:
            last = [*prompt, *ids][-1]
            ids.append(draw_token(weights_after(last % TOKENS), sampling, draw))
            if ids[-1] in sampling.stop_token_ids:
                return Reply(ids, "stop")
        return Reply(ids, "length")
