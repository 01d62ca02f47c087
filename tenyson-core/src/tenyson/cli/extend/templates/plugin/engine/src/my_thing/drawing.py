"""Drawing: how `Sampling` chooses among weights. An option without effect would measure another policy."""

import random
from collections.abc import Mapping

from tenyson.engines import Sampling


def draw_token(weights: Mapping[int, float], sampling: Sampling, draw: random.Random) -> int:
    """One token. `weights`: from the likeliest on."""
    tokens = list(weights)
    if sampling.greedy:
        return tokens[0]
    # Temperature first, as transformers and vLLM have it.
    heated = {token: weights[token] ** (1 / sampling.temperature) for token in tokens}
    tokens = tokens[: sampling.top_k or len(tokens)]
    tokens = _within_mass(heated, tokens, sampling.top_p)
    tokens = [token for token in tokens if heated[token] >= sampling.min_p * heated[tokens[0]]]
    return draw.choices(tokens, [heated[token] for token in tokens])[0]


def _within_mass(weights: Mapping[int, float], tokens: list[int], top_p: float) -> list[int]:
    total, mass, kept = sum(weights[token] for token in tokens), 0.0, []
    for token in tokens:
        kept.append(token)
        mass += weights[token] / total
        if mass >= top_p:
            break
    return kept
