"""The AWS backend: a job is a process on an EC2 instance of its own, rented for it and given back after it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tenyson.cloud.backend import Estimate, Handle
from tenyson.cloud.remote.ssh.backend import SSHBackend
from tenyson.jobs.spec import JobSpec
from tenyson.plugins.settings import build_settings
from tenyson_aws.api.clients import Clients
from tenyson_aws.api.failures import aws_errors, explained
from tenyson_aws.api.naming import RUN, tag_of
from tenyson_aws.ec2.instance import Instance
from tenyson_aws.ec2.launch import Launcher, find_instances
from tenyson_aws.ec2.placement import instance_types
from tenyson_aws.prices import price
from tenyson_aws.record import MachineRecord
from tenyson_aws.session import MachineSession
from tenyson_aws.settings import AWSSettings


class AWSBackend(SSHBackend[MachineRecord]):
    """Follows `tenyson.cloud.backend.Backend`.

    Args:
        settings: fields of `AWSSettings`, and `output_dir`, where `reattach` and `list` look for jobs.

    Raises:
        ConfigError: a setting is unknown or wrong.
    """

    name = "aws"
    record_class = MachineRecord
    session_class = MachineSession
    _settings: AWSSettings

    def __init__(self, **settings: Any) -> None:
        output_dir = settings.pop("output_dir", "./outputs")
        super().__init__(settings, output_dir)
        self._settings = build_settings(AWSSettings, settings)
        self.clients = Clients(self._settings.region)
        self._checked = False
        self._prices: dict[str, price.Price | None] = {}

    def validate(self, spec: JobSpec) -> None:
        """Credentials, types, the job's files and wheels, and the budget; nothing is spent.

        Raises: BackendError: a job could not be launched.
        """
        super().validate(spec)
        instance_types(self._settings)
        if not self._checked:
            try:
                self.clients.make("sts").get_caller_identity()
            except aws_errors() as error:
                raise explained(error, "AWS does not know you") from error
            self._checked = True
        if self._settings.budget_usd is not None:
            self._refuse_beyond(
                self._settings.budget_usd,
                self.estimate(spec),
                "Lower max_hours or choose a smaller instance_type",
            )

    def estimate(self, spec: JobSpec) -> Estimate:  # noqa: ARG002  the protocol's signature
        """Of the dearest of the types that may be taken, until the machine ends itself.

        Raises: AWSError: nobody knows the price of a type.
        """
        settings = self._settings
        types = instance_types(settings)
        for name in types:
            if name not in self._prices:
                self._prices[name] = price.on_demand(self.clients, name)
        prices = {name: self._prices[name] for name in types}
        unknown = [name for name, one in prices.items() if one is None]
        disk = price.disk(settings.disk_gb)
        if unknown:
            return Estimate(
                disk, None, f"without the machine: nobody here knows the price of {', '.join(unknown)}"
            )
        dearest = max(types, key=lambda name: prices[name].per_hour)  # type: ignore[union-attr]
        bound = prices[dearest]
        assert bound is not None
        now, what = bound, f"{dearest} on demand"
        if settings.use_spot:
            # Without a maximum, AWS charges at most the price on demand.
            now, what = price.spot(self.clients, dearest) or bound, f"{dearest}, spot"
        worst = (bound.per_hour + disk) * settings.max_hours
        note = f"{what}: {now.source}; with its disk; it ends itself after {settings.max_hours:g} h at the latest"
        return Estimate(round(now.per_hour + disk, 4), round(worst, 2), note)

    def list(self) -> list[Handle]:
        """All machines of ours that live in the region, by their tags alone."""
        return [self._handle_of(one) for one in find_instances(self.clients, {})]

    def _launch(self, record: MachineRecord, folder: Path) -> None:
        Launcher(self.clients, self._settings, self._say).launch(record, folder)
        ends = time.localtime((record.launched_at or 0) + self._settings.max_hours * 3600)
        self._say(
            f"{record.spec['run_id']}: {record.instance_id} ({record.instance_type}, {record.market}, {record.zone or record.region}); "
            f"it ends itself at {time.strftime('%Y-%m-%d %H:%M', ends)}"
        )

    def _machine(self, record: MachineRecord) -> Instance:
        assert record.instance_id is not None
        assert record.launched_at is not None
        private = self._settings.private_address
        return Instance(self.clients, record.instance_id, record.launched_at, private=private)

    def _prepare(self, record: MachineRecord, before: MachineRecord | None) -> None:
        if before is not None:
            record.avoid = list(before.avoid)
            if before.lost is not None and before.instance_type and before.zone:
                record.avoid.append([before.instance_type, before.zone])

    def _give_back(self, record: MachineRecord, folder: Path) -> None:
        if record.instance_id is not None:
            Instance(self.clients, record.instance_id, record.launched_at or 0).terminate(self._say)
            record.released = True
            record.save(folder)
        elif record.request is not None:
            found = Launcher(self.clients, self._settings, self._say).find_unanswered(record)
            if found is not None:
                self._say(f"{found} was launched for the attempt before, and is ended first")
                Instance(self.clients, found, time.time()).terminate(self._say)

    def _find(self, run_id: str, folder: Path) -> Handle | None:
        found = next(iter(find_instances(self.clients, {RUN: run_id})), None)
        if found is None:
            return None
        launched_at = found["LaunchTime"].timestamp()
        private = self._settings.private_address
        record = self._recall(
            Instance(self.clients, found["InstanceId"], launched_at, private=private),
            folder,
            launched_at,
            region=self.clients.region,
            instance_id=found["InstanceId"],
            instance_type=found.get("InstanceType"),
            zone=(found.get("Placement") or {}).get("AvailabilityZone"),
        )
        return self._handle_of(found) if record is None else self._handle(record, folder)

    def _place(self, record: MachineRecord) -> dict[str, Any]:
        return {"region": record.region}

    def _handle_of(self, instance: dict[str, Any]) -> Handle:
        run_id = tag_of(instance, RUN) or "?"
        data = {
            "instance_id": instance["InstanceId"],
            "region": self.clients.region,
            "folder": str((self.output_dir / run_id).resolve()),
        }
        return Handle(self.name, run_id, data)
