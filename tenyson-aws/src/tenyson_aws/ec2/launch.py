"""Launching: one EC2 Fleet request at a time, over all types and zones, each with a token that makes it count once.

Type `instant` with `price-capacity-optimized` is what AWS recommends for spot; what could not be had comes back in `Errors`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tenyson.cloud.remote.ssh.boot import boot_script
from tenyson.core.user import user_at_host
from tenyson_aws.api.clients import Clients
from tenyson_aws.api.failures import (
    AWSError,
    Kind,
    aws_errors,
    code_of,
    explained,
    kind_of,
    kind_of_error,
)
from tenyson_aws.api.naming import ATTEMPT, OURS, launch_token, tags
from tenyson_aws.ec2.access import find_group, find_key
from tenyson_aws.ec2.image import find_image
from tenyson_aws.ec2.placement import Placement, find_network, find_placements
from tenyson_aws.record import MachineRecord
from tenyson_aws.settings import AWSSettings

MOST_USER_DATA_BYTES = 16384
"""The most that EC2 takes, before base64."""
SAME_REQUEST_TRIES = 6
"""How often a request is sent again whose reply was lost or that came too soon after others."""
UNCERTAIN: tuple[Kind, ...] = ("throttled", "away", "auth")
"""After these nobody knows whether the request was carried out, by an earlier try."""
LAG_SECONDS = 3600.0
"""After so long EC2's lists surely show what was launched."""
GRAVEST: tuple[Kind, ...] = ("auth", "configuration", "quota", "throttled", "away", "not_found", "capacity")
"""Of several refusals the first of these decides: only when all are `capacity` does another try help."""


class Launcher:
    """Gets one machine for an attempt.

    Args:
        say: one line for whoever watches.
    """

    def __init__(self, clients: Clients, settings: AWSSettings, say: Callable[[str], None]) -> None:
        self._clients = clients
        self._settings = settings
        self._say = say

    def launch(self, record: MachineRecord, folder: Path) -> None:
        """Fill in the record's machine. Called again after a crash, it finds the same one.

        Raises: AWSError: there is none to be had; all refusals are in its message.
        """
        if record.instance_id is not None:
            return
        record.region = self._clients.region
        if record.request is not None and (found := self._find_quietly(record.token)) is not None:
            # It was carried out, and the controller that asked died before it had the answer.
            self._take(
                record, folder, record.request["market"], found["InstanceId"], found.get("InstanceType")
            )
            record.zone = (found.get("Placement") or {}).get("AvailabilityZone")
            record.save(folder)
            return
        for market in self._markets(record):
            if record.request is None or record.request["market"] != market:
                record.request = self._make_request(record, market)
                record.save(folder)
            try:
                answer = self._send(record)
            except AWSError as error:
                if error.kind not in UNCERTAIN:
                    self._drop_request(record, folder)
                raise
            if answer is not None:
                record.zone = self._zone(record, answer)
                self._take(record, folder, market, answer["InstanceIds"][0], answer.get("InstanceType"))
                return
            self._drop_request(record, folder)
        raise _refused(record.refusals)

    def find_unanswered(self, record: MachineRecord) -> str | None:
        """The machine of a request whose answer never came; None where there is none, and will be none.

        EC2's lists lag behind its launches, so they cannot say that there is none. The same request, sent again, can: it gives
        the machine that it gave, or is refused, or gives one now, which the caller ends with the rest.

        Raises: AWSError: AWS does not answer.
        """
        found = self.find(record.token)
        if found is not None or record.request is None or time.time() - record.created_at > LAG_SECONDS:
            return None if found is None else str(found["InstanceId"])
        try:
            answer = self._send(record)
        except AWSError as error:
            if error.kind in UNCERTAIN:
                raise
            return None
        return None if answer is None else str(answer["InstanceIds"][0])

    def _drop_request(self, record: MachineRecord, folder: Path) -> None:
        """It was refused: whatever comes next is another one."""
        record.turn += 1
        record.request = None
        record.save(folder)

    def _take(
        self, record: MachineRecord, folder: Path, market: str, instance_id: str, kind: str | None
    ) -> None:
        record.market, record.instance_id, record.instance_type = market, instance_id, kind
        record.launched_at = time.time()
        record.save(folder)

    def _markets(self, record: MachineRecord) -> list[str]:
        if not self._settings.use_spot:
            return ["on-demand"]
        markets = ["spot", "on-demand"] if self._settings.on_demand_fallback else ["spot"]
        # After a crash in the middle of the second one, the first has had its answer.
        under_way = record.request["market"] if record.request else markets[0]
        return markets[markets.index(under_way) :] if under_way in markets else markets

    def _make_request(self, record: MachineRecord, market: str) -> dict[str, Any]:
        """Everything that is sent, so that it can be sent again word for word."""
        settings, clients = self._settings, self._clients
        network = find_network(clients, settings)
        placements = find_placements(clients, settings, network, record.avoid)
        image = find_image(clients, settings.image_id)
        group = find_group(clients, settings, network.vpc)
        lifetime = int(settings.max_hours * 3600)
        data: dict[str, Any] = {
            "ImageId": image.id,
            "KeyName": find_key(clients, settings).name,
            "SecurityGroupIds": [group],
            "UserData": _user_data(lifetime, int(settings.idle_minutes * 60)),
            "InstanceInitiatedShutdownBehavior": "terminate",
            "MetadataOptions": {
                "HttpTokens": "required",
                "HttpEndpoint": "enabled",
                "HttpPutResponseHopLimit": 1,
            },
            "BlockDeviceMappings": [
                {
                    "DeviceName": image.root_device,
                    "Ebs": {
                        "VolumeSize": settings.disk_gb,
                        "VolumeType": "gp3",
                        "Encrypted": True,
                        "DeleteOnTermination": True,
                    },
                }
            ],
            "TagSpecifications": [{"ResourceType": "volume", "Tags": tags(owner=user_at_host())}],
        }
        if settings.instance_profile:
            data["IamInstanceProfile"] = {"Name": settings.instance_profile}
        ends_by = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + lifetime))
        named = [
            *tags(run=record.spec["run_id"], attempt=record.token, owner=user_at_host(), ends_by=ends_by),
            {"Key": "Name", "Value": f"tenyson {record.spec['run_id']}"[:256]},
        ]
        fleet: dict[str, Any] = {
            "Type": "instant",
            "ClientToken": launch_token(record.token, market, record.turn),
            "TargetCapacitySpecification": {"TotalTargetCapacity": 1, "DefaultTargetCapacityType": market},
            "LaunchTemplateConfigs": [
                {
                    "LaunchTemplateSpecification": {"LaunchTemplateId": self._template(data), "Version": "1"},
                    "Overrides": [self._override(one, rank, market) for rank, one in enumerate(placements)],
                }
            ],
            "TagSpecifications": [{"ResourceType": kind, "Tags": named} for kind in ("fleet", "instance")],
        }
        if market == "spot":
            fleet["SpotOptions"] = {
                "AllocationStrategy": "price-capacity-optimized",
                "InstanceInterruptionBehavior": "terminate",
            }
        else:
            fleet["OnDemandOptions"] = {"AllocationStrategy": "prioritized"}
        return {"market": market, "fleet": fleet, "zones": {one.subnet: one.zone for one in placements}}

    def _override(self, placement: Placement, rank: int, market: str) -> dict[str, Any]:
        override: dict[str, Any] = {"InstanceType": placement.instance_type, "SubnetId": placement.subnet}
        if market == "on-demand":
            override["Priority"] = float(rank)
        elif self._settings.spot_max_price is not None:
            override["MaxPrice"] = f"{self._settings.spot_max_price:g}"
        return override

    def _template(self, data: dict[str, Any]) -> str:
        """A launch template with this content; fleets take no other form. It costs nothing and holds no secret."""
        name = f"tenyson-{hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32]}"
        ec2 = self._clients.ec2
        try:
            made = ec2.create_launch_template(
                LaunchTemplateName=name,
                LaunchTemplateData=data,
                TagSpecifications=[{"ResourceType": "launch-template", "Tags": tags(owner=user_at_host())}],
            )
            return str(made["LaunchTemplate"]["LaunchTemplateId"])
        except aws_errors() as error:
            if code_of(error)[0] != "InvalidLaunchTemplateName.AlreadyExistsException":
                raise explained(error, "cannot make a launch template") from error
        try:
            found = ec2.describe_launch_templates(LaunchTemplateNames=[name])["LaunchTemplates"]
        except aws_errors() as error:
            raise explained(error, f"cannot look up the launch template {name}") from error
        return str(found[0]["LaunchTemplateId"])

    def _send(self, record: MachineRecord) -> dict[str, Any] | None:
        """One request, sent until it is answered. None: nothing of it could be had, and it may be tried otherwise.

        Raises: AWSError: it was refused for good.
        """
        assert record.request is not None
        market = record.request["market"]
        for trial in range(SAME_REQUEST_TRIES):
            try:
                answer = self._clients.launcher.create_fleet(**record.request["fleet"])
                break
            except aws_errors() as error:
                kind = kind_of_error(error)
                if kind not in ("throttled", "away"):
                    record.refusals.append(f"{market}: {': '.join(part for part in code_of(error) if part)}")
                    if kind == "capacity":
                        return None
                    raise _refused(record.refusals, kind) from error
                if trial == SAME_REQUEST_TRIES - 1:
                    # It may have been carried out all the same: the tags tell.
                    found = self._find_quietly(record.token)
                    if found is not None:
                        return {
                            "InstanceIds": [found["InstanceId"]],
                            "InstanceType": found.get("InstanceType"),
                        }
                    raise explained(error, "the launch got no answer") from error
                self._say(f"{code_of(error)[0] or type(error).__name__}: the launch is asked for again")
                time.sleep(min(0.5 * 2**trial, 10))
        if answer.get("Instances"):
            return dict(answer["Instances"][0])
        kinds = []
        for one in answer.get("Errors", ()):
            override = one.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
            zone = record.request["zones"].get(
                override.get("SubnetId"), override.get("AvailabilityZone", "?")
            )
            record.refusals.append(
                f"{market} {override.get('InstanceType', '?')} in {zone}: {one['ErrorCode']}: {one.get('ErrorMessage', '')}"
            )
            kinds.append(kind_of(one["ErrorCode"]))
        if not kinds:
            record.refusals.append(f"{market}: the fleet gave neither a machine nor a reason")
        gravest: Kind = next((kind for kind in GRAVEST if kind in kinds), "capacity")
        if gravest != "capacity":
            raise _refused(record.refusals, gravest)
        return None

    def find(self, attempt: str) -> dict[str, Any] | None:
        """The live machine of an attempt, by its tag. Raises: AWSError."""
        return next(iter(find_instances(self._clients, {ATTEMPT: attempt})), None)

    def _find_quietly(self, attempt: str) -> dict[str, Any] | None:
        """As `find`; None as well where AWS does not answer: the same request, sent again, tells as much."""
        try:
            return self.find(attempt)
        except AWSError as error:
            if error.kind in ("auth", "configuration"):
                raise
            return None

    def _zone(self, record: MachineRecord, answer: dict[str, Any]) -> str | None:
        assert record.request is not None
        override = answer.get("LaunchTemplateAndOverrides", {}).get("Overrides", {})
        zone = record.request["zones"].get(override.get("SubnetId"))
        return str(zone) if zone else None


def _user_data(lifetime_seconds: int, idle_seconds: int) -> str:
    script = boot_script(lifetime_seconds, idle_seconds).encode()
    assert len(script) < MOST_USER_DATA_BYTES
    return base64.b64encode(script).decode()


LIVE = ("pending", "running", "stopping", "stopped")
"""States in which an instance costs, or can come to cost again."""


def find_instances(
    clients: Clients, tagged: dict[str, str], *, region: str | None = None
) -> list[dict[str, Any]]:
    """Our live instances with these tags. Raises: AWSError."""
    filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in {OURS: "1", **tagged}.items()]
    filters.append({"Name": "instance-state-name", "Values": list(LIVE)})
    try:
        ec2 = clients.ec2 if region is None else clients.make("ec2", region=region)
        pages = ec2.get_paginator("describe_instances").paginate(Filters=filters)
        return [one for page in pages for group in page["Reservations"] for one in group["Instances"]]
    except aws_errors() as error:
        raise explained(error, "cannot list instances") from error


def _refused(refusals: list[str], kind: Kind = "capacity") -> AWSError:
    what = {"capacity": "no machine is to be had now", "quota": "a quota of your account is used up"}
    head = what.get(kind, "the launch was refused")
    return AWSError(f"{head}; AWS said:\n" + "\n".join(f"    {one}" for one in refusals), kind)
