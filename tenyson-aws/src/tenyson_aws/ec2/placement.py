"""Placements: the types and zones that a job may run in, in the order in which they are wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tenyson_aws.api.clients import Clients
from tenyson_aws.api.failures import AWSError, aws_errors, explained
from tenyson_aws.prices.catalog import with_gpu_memory
from tenyson_aws.settings import AWSSettings


@dataclass(frozen=True)
class Placement:
    """A type in a subnet, which lies in one zone."""

    instance_type: str
    zone: str
    subnet: str


@dataclass(frozen=True)
class Network:
    """The subnets that may be used, all in one VPC."""

    vpc: str
    subnets: dict[str, str]
    """Subnet by zone."""


def instance_types(settings: AWSSettings) -> list[str]:
    """Raises: AWSError: no known type has a GPU of that much memory."""
    if settings.gpu_memory_gb is None:
        return list(dict.fromkeys([settings.instance_type, *settings.instance_types]))
    found = with_gpu_memory(settings.gpu_memory_gb)
    if not found:
        raise AWSError(
            f"no GPU machine that Tenyson knows has {settings.gpu_memory_gb:g} GB on one GPU",
            "configuration",
            next_step="Give instance_type yourself, in place of gpu_memory_gb.",
        )
    return found


def find_network(clients: Clients, settings: AWSSettings) -> Network:
    """Raises: AWSError: there is no subnet to use."""
    try:
        if settings.subnet_id:
            subnets = clients.ec2.describe_subnets(SubnetIds=[settings.subnet_id])["Subnets"]
        else:
            filters = [{"Name": "default-for-az", "Values": ["true"]}]
            subnets = clients.ec2.describe_subnets(Filters=filters)["Subnets"]
    except aws_errors() as error:
        raise explained(error, "cannot look for subnets") from error
    wanted = [one for one in subnets if not settings.zones or one["AvailabilityZone"] in settings.zones]
    if not wanted:
        where = f" in {', '.join(settings.zones)}" if settings.zones else ""
        raise AWSError(
            f"there is no default subnet{where} in {clients.region}",
            "configuration",
            next_step="Set backend.settings.subnet_id to one that assigns public addresses, or make a default VPC.",
        )
    return Network(wanted[0]["VpcId"], {one["AvailabilityZone"]: one["SubnetId"] for one in wanted})


def find_placements(
    clients: Clients, settings: AWSSettings, network: Network, avoid: Iterable[Iterable[str]] = ()
) -> list[Placement]:
    """All that EC2 offers, without those to avoid as long as others are left.

    Raises: AWSError: none of the types is offered in any of the zones.
    """
    types = instance_types(settings)
    filters = [
        {"Name": "instance-type", "Values": types},
        {"Name": "location", "Values": list(network.subnets)},
    ]
    try:
        pages = clients.ec2.get_paginator("describe_instance_type_offerings").paginate(
            LocationType="availability-zone", Filters=filters
        )
        offered = {
            (one["InstanceType"], one["Location"]) for page in pages for one in page["InstanceTypeOfferings"]
        }
    except aws_errors() as error:
        raise explained(error, "cannot look up which zones offer these types") from error
    all_of_them = [
        Placement(name, zone, subnet)
        for name in types
        for zone, subnet in sorted(network.subnets.items())
        if (name, zone) in offered
    ]
    if not all_of_them:
        raise AWSError(
            f"{clients.region} does not offer {', '.join(types)} in {', '.join(sorted(network.subnets))}",
            "configuration",
            next_step="Choose another region, zone or instance_type.",
        )
    lost = {tuple(one) for one in avoid}
    return [one for one in all_of_them if (one.instance_type, one.zone) not in lost] or all_of_them
