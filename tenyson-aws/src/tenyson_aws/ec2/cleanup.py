"""Clean-up: finds what is ours by its tags alone, in every region asked for, and removes what nobody needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

from tenyson_aws.api.clients import Clients
from tenyson_aws.api.failures import aws_errors, code_of, explained
from tenyson_aws.api.naming import ENDS_BY, OURS, OWNER, RUN, tag_of
from tenyson_aws.ec2.instance import Instance
from tenyson_aws.ec2.launch import find_instances

Kind = Literal["instance", "launch template", "key pair", "security group", "volume"]


@dataclass(frozen=True)
class Found:
    """One thing of ours."""

    region: str
    kind: Kind
    id: str
    run: str
    owner: str
    state: str
    detail: str = ""
    """Type, market and zone of an instance, and by when it ends itself."""


def all_regions(clients: Clients) -> list[str]:
    """The regions of the account. Raises: AWSError."""
    try:
        return sorted(one["RegionName"] for one in clients.ec2.describe_regions()["Regions"])
    except aws_errors() as error:
        raise explained(error, "cannot list regions") from error


def find_all(clients: Clients, regions: Iterable[str], *, only_instances: bool = False) -> list[Found]:
    """Everything of ours, machines first. Raises: AWSError."""
    found: list[Found] = []
    for region in regions:
        found += [_machine(region, one) for one in find_instances(clients, {}, region=region)]
        if not only_instances:
            found += _others(clients, region)
    return found


def remove(clients: Clients, found: Found, say: Callable[[str], None]) -> str | None:
    """Remove one thing; returns why it could not be removed. Machines are seen terminated."""
    if found.kind == "instance":
        regional = Clients(found.region)
        Instance(regional, found.id, time.time() - 3600).terminate(say)
        return None
    ec2 = clients.make("ec2", region=found.region)
    calls: dict[str, Callable[[], Any]] = {
        "launch template": lambda: ec2.delete_launch_template(LaunchTemplateId=found.id),
        "key pair": lambda: ec2.delete_key_pair(KeyName=found.id),
        "security group": lambda: ec2.delete_security_group(GroupId=found.id),
        "volume": lambda: ec2.delete_volume(VolumeId=found.id),
    }
    try:
        calls[found.kind]()
    except aws_errors() as error:
        return ": ".join(part for part in code_of(error) if part)
    return None


def _machine(region: str, one: dict[str, Any]) -> Found:
    market = one.get("InstanceLifecycle", "on-demand")
    zone = (one.get("Placement") or {}).get("AvailabilityZone", region)
    ends_by = tag_of(one, ENDS_BY)
    detail = f"{one.get('InstanceType')}, {market}, {zone}" + (
        f", ends itself by {ends_by}" if ends_by else ""
    )
    return Found(
        region,
        "instance",
        one["InstanceId"],
        tag_of(one, RUN) or "",
        tag_of(one, OWNER) or "",
        one["State"]["Name"],
        detail,
    )


def _others(clients: Clients, region: str) -> list[Found]:
    ec2 = clients.make("ec2", region=region)
    ours = [{"Name": f"tag:{OURS}", "Values": ["1"]}]
    try:
        listed: list[tuple[Kind, str, list[dict[str, Any]]]] = [
            (
                "launch template",
                "LaunchTemplateId",
                ec2.describe_launch_templates(Filters=ours)["LaunchTemplates"],
            ),
            ("security group", "GroupId", ec2.describe_security_groups(Filters=ours)["SecurityGroups"]),
            ("key pair", "KeyName", ec2.describe_key_pairs(Filters=ours)["KeyPairs"]),
            (
                "volume",
                "VolumeId",
                ec2.describe_volumes(Filters=[*ours, {"Name": "status", "Values": ["available"]}])["Volumes"],
            ),
        ]
    except aws_errors() as error:
        raise explained(error, f"cannot list what is ours in {region}") from error
    return [
        Found(
            region,
            kind,
            one[key],
            "",
            tag_of(one, OWNER) or "",
            "unused" if kind == "volume" else "free of charge",
        )
        for kind, key, entries in listed
        for one in entries
    ]
