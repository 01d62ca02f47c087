"""Prices of Modal, US dollars an hour. Modal tells its prices on a page only; these are of the day below.

Source: modal.com/pricing. A container is billed for what it is promised or what it uses, whichever is more.
"""

from __future__ import annotations

from tenyson.cloud.backend import Estimate
from tenyson_modal.settings import ModalSettings

PRICED_ON = "2026-05-07"
GPUS = {
    "T4": 0.5904,
    "L4": 0.7992,
    "A10": 1.1016,
    "A10G": 1.1016,
    "L40S": 1.9512,
    "A100": 2.0988,
    "A100-40GB": 2.0988,
    "A100-80GB": 2.4984,
    "RTX-PRO-6000": 3.0312,
    "H100": 3.9492,
    "H200": 4.5396,
    "B200": 6.2496,
}
CORE = 0.0473
"""A physical core, which is two virtual ones."""
GIB = 0.0080
"""Of memory."""
MOST_FOR_A_REGION = 2.5
"""The highest factor for a chosen region."""


def estimate(settings: ModalSettings) -> Estimate:
    """Of the dearest choice, for `max_hours`. No worst case where a GPU's price is not known."""
    rest = settings.cpu * CORE + settings.memory / 1024 * GIB
    factor = MOST_FOR_A_REGION if settings.region else 1.0
    prices = {gpu: settings.price_per_hour or _gpu(gpu) for gpu in settings.gpus}
    unknown = [gpu for gpu, price in prices.items() if price is None]
    if unknown:
        return Estimate(
            round(rest * factor, 4),
            None,
            f"without the GPU: nobody here knows the price of {', '.join(unknown)} (price_per_hour)",
        )
    dearest = max(prices, key=lambda gpu: prices[gpu] or 0.0, default=None)
    hour = ((prices[dearest] or 0.0) + rest if dearest else rest) * factor
    source = (
        "by your price_per_hour"
        if settings.price_per_hour and dearest
        else f"modal.com/pricing on {PRICED_ON}"
    )
    region = f"; a region costs up to {MOST_FOR_A_REGION:g} times as much" if settings.region else ""
    note = (
        f"{dearest or 'no GPU'}, {settings.cpu:g} cores, {settings.memory / 1024:g} GiB: {source}{region}; "
        f"it ends itself after {settings.max_hours:g} h at the latest"
    )
    return Estimate(round(hour, 4), round(hour * settings.max_hours, 2), note)


def _gpu(name: str) -> float | None:
    kind, _, count = name.partition(":")
    price = GPUS.get(kind.rstrip("!").upper())
    return None if price is None else price * int(count or 1)
