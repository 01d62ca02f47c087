"""Access: the key pair that logs in, and the security group that lets the connection through. Made and tagged where not given."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tenyson.cloud.remote.ssh.keys import public_key
from tenyson.core.user import user_at_host
from tenyson_aws.api.clients import Clients
from tenyson_aws.api.failures import AWSError, aws_errors, code_of, explained
from tenyson_aws.api.naming import tags
from tenyson_aws.settings import AWSSettings

WHO_AM_I = "https://checkip.amazonaws.com"
GROUP_NAME = "tenyson-ssh"


@dataclass(frozen=True)
class Key:
    """A key pair: its name at EC2, and its private half here."""

    name: str
    path: Path


def find_key(clients: Clients, settings: AWSSettings, *, make: bool = True) -> Key:
    """The key pair of the settings; without one, the one of this machine, made and registered with `make`.

    Raises:
        AWSError: EC2 does not know it, or the settings do not say where its private half is.
        PrivateKeyError: its private half is missing or cannot be read.
    """
    if settings.key_name and not settings.key_path:
        raise AWSError(
            f"key_name {settings.key_name!r} has a private half, and backend.settings.key_path does not say where",
            "configuration",
            next_step="Set key_path to its file; or leave both out, and a pair is made for you.",
        )
    path, public = public_key(settings, "aws", make=make)
    name = settings.key_name or f"tenyson-{hashlib.sha256(public.split()[1].encode()).hexdigest()[:16]}"
    try:
        clients.ec2.describe_key_pairs(KeyNames=[name])
    except aws_errors() as error:
        if code_of(error)[0] != "InvalidKeyPair.NotFound":
            raise explained(error, f"cannot look for the key pair {name}") from error
        if settings.key_name:
            raise AWSError(f"there is no key pair {name!r} in {clients.region}", "configuration") from error
        if make:
            _register(clients, name, public)
    return Key(name, path)


def find_group(clients: Clients, settings: AWSSettings, vpc: str, *, make: bool = True) -> str | None:
    """Id of the security group; without one in the settings, ours of that VPC, made with `make`, open to this address.

    Raises:
        AWSError: EC2 does not know it, or it cannot be found out from where we are seen.
    """
    ec2 = clients.ec2
    try:
        if settings.security_group:
            ec2.describe_security_groups(GroupIds=[settings.security_group])
            return settings.security_group
        filters = [{"Name": "vpc-id", "Values": [vpc]}, {"Name": "group-name", "Values": [GROUP_NAME]}]
        found = ec2.describe_security_groups(Filters=filters)["SecurityGroups"]
        if not found and not make:
            return None
        source = settings.ssh_from or f"{_seen_as()}/32"
        group = found[0]["GroupId"] if found else _make_group(ec2, vpc)
        open_to = [
            entry["CidrIp"]
            for rule in (found[0].get("IpPermissions", ()) if found else ())
            if rule.get("FromPort") == settings.ssh_port
            for entry in rule.get("IpRanges", ())
        ]
        if source not in open_to and make:
            _open(ec2, group, settings.ssh_port, source)
        return str(group)
    except aws_errors() as error:
        raise explained(error, "cannot use a security group") from error


def _register(clients: Clients, name: str, public: str) -> None:
    try:
        clients.ec2.import_key_pair(
            KeyName=name,
            PublicKeyMaterial=public.encode(),
            TagSpecifications=[{"ResourceType": "key-pair", "Tags": tags(owner=user_at_host())}],
        )
    except aws_errors() as error:
        if code_of(error)[0] != "InvalidKeyPair.Duplicate":  # another process of ours was quicker
            raise explained(error, f"cannot register the key pair {name}") from error


def _make_group(ec2: Any, vpc: str) -> str:
    made = ec2.create_security_group(
        GroupName=GROUP_NAME,
        Description="SSH to machines that Tenyson rents",
        VpcId=vpc,
        TagSpecifications=[{"ResourceType": "security-group", "Tags": tags(owner=user_at_host())}],
    )
    return str(made["GroupId"])


def _open(ec2: Any, group: str, port: int, source: str) -> None:
    ranges = [{"CidrIp": source, "Description": user_at_host()[:255]}]
    try:
        ec2.authorize_security_group_ingress(
            GroupId=group,
            IpPermissions=[{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, "IpRanges": ranges}],
        )
    except aws_errors() as error:
        if code_of(error)[0] != "InvalidPermission.Duplicate":
            raise


def _seen_as() -> str:
    try:
        with urllib.request.urlopen(WHO_AM_I, timeout=10) as answer:
            return str(answer.read(64).decode().strip())
    except (OSError, ValueError, urllib.error.URLError) as error:
        raise AWSError(
            f"it cannot be found out from which address you are seen ({WHO_AM_I}: {error})",
            "configuration",
            next_step="Set backend.settings.ssh_from to your address, such as 203.0.113.7/32, or security_group to one of yours.",
        ) from error
