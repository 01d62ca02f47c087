"""The model: how likely each token is to follow another one. Put your own in its place."""

TOKENS = 16
"""Token ids are 0 to 15."""


def weights_after(token: int) -> dict[int, float]:
    """The weight of each next token, from the likeliest on; they need not add up to 1."""
    best = (3 * token + 1) % TOKENS
    order = [(best + offset) % TOKENS for offset in range(TOKENS)]
    return {token: 1 / (1 + rank) for rank, token in enumerate(order)}
