"""Prices: what a machine costs an hour, asked of AWS, with the day they are of; where AWS does not say, of the catalogue."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from tenyson_aws.api.clients import Clients
from tenyson_aws.api.failures import aws_errors, code_of
from tenyson_aws.prices.catalog import MACHINES, PRICED_ON

DISK_PER_GB_MONTH = 0.08
"""gp3 in us-east-1, aws.amazon.com/ebs/pricing."""
HOURS_OF_A_MONTH = 730


@dataclass(frozen=True)
class Price:
    """US dollars an hour, for one machine without its disk."""

    per_hour: float
    source: str
    """Where it is from, and of which day."""


def on_demand(clients: Clients, instance_type: str) -> Price | None:
    """By AWS's price list, else by the catalogue; None where neither knows the type."""
    values = {
        "instanceType": instance_type,
        "regionCode": clients.region,
        "operatingSystem": "Linux",
        "preInstalledSw": "NA",
        "tenancy": "Shared",
        "capacitystatus": "Used",
    }
    filters = [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in values.items()]
    try:
        # The price list is served from a few regions only, for all of them.
        pricing = clients.make("pricing", region="us-east-1")
        found = pricing.get_products(ServiceCode="AmazonEC2", Filters=filters, MaxResults=10)["PriceList"]
        prices = [price for text in found for price in _dollars(json.loads(text))]
        if prices:
            return Price(min(prices), f"AWS's price list for {clients.region}, {_today()}")
        why = "it is not in AWS's price list"
    except aws_errors(ValueError, LookupError, TypeError) as error:
        why = f"AWS's price list cannot be read ({code_of(error)[0] or type(error).__name__})"
    machine = MACHINES.get(instance_type)
    if machine is None:
        return None
    return Price(machine.per_hour, f"us-east-1 on {PRICED_ON}; {why}")


def spot(clients: Clients, instance_type: str) -> Price | None:
    """The highest of the zones' present spot prices; None where AWS tells none."""
    try:
        history = clients.ec2.describe_spot_price_history(
            InstanceTypes=[instance_type],
            ProductDescriptions=["Linux/UNIX"],
            StartTime=time.time(),
        )["SpotPriceHistory"]
        prices = [float(entry["SpotPrice"]) for entry in history]
    except aws_errors(ValueError, LookupError):
        return None
    return Price(max(prices), f"spot price in {clients.region}, {_today()}") if prices else None


def disk(gb: int) -> float:
    """US dollars an hour."""
    return gb * DISK_PER_GB_MONTH / HOURS_OF_A_MONTH


def _dollars(product: dict[str, Any]) -> list[float]:
    return [
        float(dimension["pricePerUnit"]["USD"])
        for term in product["terms"]["OnDemand"].values()
        for dimension in term["priceDimensions"].values()
        if float(dimension["pricePerUnit"]["USD"]) > 0
    ]


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())
