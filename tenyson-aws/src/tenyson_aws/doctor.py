"""The doctor of AWS: credentials, permissions, quotas, image, key, network and bucket are tried without anything being spent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from tenyson.cli.rented import Check
from tenyson.cloud.remote.ssh.keys import key_folder, private_key
from tenyson.errors import TenysonError
from tenyson_aws.api.clients import Clients
from tenyson_aws.api.failures import aws_errors, code_of, kind_of_error
from tenyson_aws.ec2.access import find_group, find_key
from tenyson_aws.ec2.image import find_image
from tenyson_aws.ec2.placement import find_network, find_placements, instance_types
from tenyson_aws.prices.catalog import MACHINES
from tenyson_aws.prices.price import on_demand
from tenyson_aws.settings import AWSSettings

QUOTAS = {
    ("G", "on-demand"): "L-DB2E81BA", ("G", "spot"): "L-3819A6DF",
    ("P", "on-demand"): "L-417A185B", ("P", "spot"): "L-7212CCBC",
}  # fmt: skip
"""Quotas of running vCPUs, by the first letter of the type's family (Service Quotas, Amazon EC2)."""


NO_TELLING = "refused for an instance that does not exist; whether yours may be ended cannot be tried, for there the tag decides"


def examine(settings: AWSSettings) -> Iterator[Check]:
    """Try everything that a launch needs, one thing after another; those that cannot be tried are warnings."""
    clients = Clients(settings.region)
    try:
        who = clients.make("sts").get_caller_identity()
        yield Check("ok", "credentials", f"{who['Arn']} in {clients.region}")
    except aws_errors(TenysonError) as error:
        yield Check("error", "credentials", _words(error))
        return
    yield from _tried(
        "image", lambda: f"{(image := find_image(clients, settings.image_id)).id}, by {image.found_by}"
    )
    yield from _tried("key", lambda: _key(clients, settings))
    yield from _tried("network", lambda: _network(clients, settings))
    yield from _permission("ec2:RunInstances", lambda: clients.launcher.run_instances(
        DryRun=True, MinCount=1, MaxCount=1, ImageId=find_image(clients, settings.image_id).id, InstanceType=instance_types(settings)[0]
    ))  # fmt: skip
    yield from _permission("ec2:CreateFleet", lambda: clients.launcher.create_fleet(
        DryRun=True, Type="instant", TargetCapacitySpecification={"TotalTargetCapacity": 1},
        LaunchTemplateConfigs=[{"LaunchTemplateSpecification": {"LaunchTemplateId": "lt-00000000000000000", "Version": "1"}}],
    ))  # fmt: skip
    for check in _permission("ec2:TerminateInstances", lambda: clients.launcher.terminate_instances(
        DryRun=True, InstanceIds=["i-00000000000000000"]
    )):  # fmt: skip
        # Our own policy refuses this too: it lets end what carries our tag, and an instance that is not there carries none.
        yield (
            check
            if check.level == "ok"
            else replace(check, level="warning", said=f"{NO_TELLING}: {check.said}")
        )
    yield from _quota(clients, settings)
    yield from _price(clients, settings)
    if settings.bucket:
        yield from _tried("bucket", lambda: _bucket(clients, settings))


def _tried(what: str, work: Callable[[], str]) -> Iterator[Check]:
    try:
        yield Check("ok", what, work())
    except aws_errors(TenysonError) as error:
        yield Check("error", what, _words(error))


def _key(clients: Clients, settings: AWSSettings) -> str:
    if not settings.key_path and not settings.key_name and not private_key(settings, "aws").is_file():
        return f"none yet: the first launch makes one in {key_folder('aws')}"
    key = find_key(clients, settings, make=False)
    mode = Path(key.path).stat().st_mode & 0o077
    readable = "; others on this machine can read it: chmod 600" if mode else ""
    return f"{key.name}, {key.path}{readable}"


def _network(clients: Clients, settings: AWSSettings) -> str:
    network = find_network(clients, settings)
    placements = find_placements(clients, settings, network)
    group = find_group(clients, settings, network.vpc, make=False)
    where = ", ".join(sorted({f"{one.instance_type} in {one.zone}" for one in placements}))
    return f"{network.vpc}, group {group or 'none yet: the first launch makes one'}; {where}"


def _permission(action: str, dry_run: Callable[[], object]) -> Iterator[Check]:
    try:
        dry_run()
        yield Check("warning", action, "a dry run was carried out as if it were none; this is not AWS")
    except aws_errors(TenysonError) as error:
        code, message = code_of(error)
        if code == "DryRunOperation":
            yield Check("ok", action, "allowed")
        elif kind_of_error(error) == "auth":
            yield Check("error", action, f"{code}: {message} (`tenyson aws policy` prints what is needed)")
        else:
            # AWS looks at permissions first: what it complains of next was let through.
            yield Check("ok", action, f"allowed, as far as a dry run tells ({code or message})")


def _quota(clients: Clients, settings: AWSSettings) -> Iterator[Check]:
    name = instance_types(settings)[0]
    market = "spot" if settings.use_spot else "on-demand"
    code = QUOTAS.get((name[0].upper(), market))
    machine = MACHINES.get(name)
    what = f"quota of {name[0].upper()} instances, {market}"
    if code is None or machine is None:
        yield Check("warning", what, f"it is not known here which quota {name} falls under")
        return
    try:
        quota = clients.make("service-quotas").get_service_quota(ServiceCode="ec2", QuotaCode=code)["Quota"][
            "Value"
        ]
    except aws_errors(TenysonError, KeyError) as error:
        yield Check("warning", what, f"{code} cannot be read: {_words(error)}")
        return
    enough = quota >= machine.vcpus
    yield Check(
        "ok" if enough else "error",
        what,
        f"{quota:g} vCPUs, {name} needs {machine.vcpus}"
        + ("" if enough else f"; ask for more of {code} in Service Quotas"),
    )


def _price(clients: Clients, settings: AWSSettings) -> Iterator[Check]:
    for name in instance_types(settings):
        price = on_demand(clients, name)
        if price is None:
            yield Check("warning", f"price of {name}", "nobody here knows it: budget_usd refuses it")
        else:
            yield Check("ok", f"price of {name}", f"${price.per_hour:.2f} an hour on demand ({price.source})")


def _bucket(clients: Clients, settings: AWSSettings) -> str:
    name = str(settings.bucket).removeprefix("s3://").partition("/")[0]
    clients.make("s3").head_bucket(Bucket=name)
    profile = settings.instance_profile
    return f"{name} is there" + (
        "" if profile else "; without instance_profile the machine cannot write to it"
    )


def _words(error: Exception) -> str:
    if isinstance(error, TenysonError):
        return str(error)
    return ": ".join(part for part in code_of(error) if part)
