"""The instance as AWS sees it: where it is, whether it lives, why it ended, and how it is ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tenyson.cloud.remote.ssh.boot import host_keys_in
from tenyson.cloud.remote.ssh.provider import MachineStatus
from tenyson_aws.api.clients import Clients
from tenyson_aws.api.failures import AWSError, aws_errors, code_of, explained, kind_of_error

NOT_FOUND_SECONDS = 300.0
"""So long after a launch EC2 may not know the instance yet in every place."""
CONFIRM_SECONDS = 300.0
CONFIRM_EVERY_SECONDS = 3.0
SPOT_CODES = ("Server.SpotInstanceTermination", "Server.SpotInstanceShutdown")


class Instance:
    """One instance. Polling does not raise: unreachable is not dead."""

    def __init__(
        self, clients: Clients, instance_id: str, launched_at: float, *, private: bool = False
    ) -> None:
        self.id = instance_id
        self._clients = clients
        self._launched_at = launched_at
        self._private = private

    def poll(self) -> MachineStatus:
        """Ask AWS."""
        try:
            answer = self._clients.ec2.describe_instances(InstanceIds=[self.id])
            found = [one for group in answer["Reservations"] for one in group["Instances"]]
        except aws_errors() as error:
            if kind_of_error(error) != "not_found":
                return MachineStatus("unknown", detail=": ".join(part for part in code_of(error) if part))
            found = []
        if not found:
            if time.time() - self._launched_at < NOT_FOUND_SECONDS:
                return MachineStatus("unknown", detail="AWS does not know it yet")
            return MachineStatus("gone", detail="AWS knows it no more")
        one = found[0]
        state = one["State"]["Name"]
        reason = one.get("StateReason") or {}
        if state in ("terminated", "shutting-down", "stopped", "stopping"):
            detail = reason.get("Message") or one.get("StateTransitionReason") or state
            code = reason.get("Code", "")
            return MachineStatus("gone", code=code, detail=detail, preempted=code in SPOT_CODES)
        address = one.get("PrivateIpAddress") if self._private else one.get("PublicIpAddress")
        return MachineStatus("running" if state == "running" else "coming", address or None)

    def host_keys(self) -> list[str]:
        """What its watchdog wrote on its console; empty while that has not come through."""
        text = ""
        for latest in (True, False):  # machines before Nitro know no "latest"
            try:
                text = (
                    self._clients.ec2.get_console_output(InstanceId=self.id, Latest=latest).get("Output")
                    or ""
                )
                break
            except aws_errors() as error:
                if not latest or code_of(error)[0] != "UnsupportedOperation":
                    return []
        return host_keys_in(text)

    def terminate(self, say: Callable[[str], None], seconds: float = CONFIRM_SECONDS) -> None:
        """End it, and ask until AWS says that it is terminated. Called twice it does no harm.

        Raises: AWSError: AWS does not say so in time; it then ends itself by its deadline.
        """
        deadline = time.monotonic() + seconds
        last, told = "", False
        while True:
            try:
                self._clients.ec2.terminate_instances(InstanceIds=[self.id])
            except aws_errors() as error:
                kind = kind_of_error(error)
                if kind == "not_found" and time.time() - self._launched_at > NOT_FOUND_SECONDS:
                    return
                last = ": ".join(part for part in code_of(error) if part)
                if kind in ("auth", "configuration"):
                    raise explained(error, f"{self.id} cannot be terminated") from error
                if not told:
                    say(f"{self.id} is not terminated yet ({last}); it is tried again")
                    told = True
            # What AWS answers to the call is a promise; that it is terminated is what counts.
            state = self._state()
            if state == "terminated":
                return
            if time.monotonic() > deadline:
                raise AWSError(
                    f"AWS does not say that {self.id} is terminated (it says {state or last or 'nothing'})",
                    "away",
                    next_step="It ends itself at its deadline at the latest. `tenyson aws cleanup` tries again; look at the console.",
                )
            time.sleep(CONFIRM_EVERY_SECONDS if state else 1.0)

    def _state(self) -> str | None:
        try:
            answer: Any = self._clients.ec2.describe_instances(InstanceIds=[self.id])
        except aws_errors() as error:
            gone = kind_of_error(error) == "not_found" and time.time() - self._launched_at > NOT_FOUND_SECONDS
            return "terminated" if gone else None
        states = [one["State"]["Name"] for group in answer["Reservations"] for one in group["Instances"]]
        return states[0] if states else None
