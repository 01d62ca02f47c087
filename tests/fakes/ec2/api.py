"""The layer in front of moto: true ClientToken semantics for fleets, capacity by type and zone, faults, consoles, machines."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from tests.fakes.ec2.machine import Machine
from tests.fakes.ec2.rules import Rule, Rules

IMAGE_PARAMETER = "/aws/service/deeplearning/"
XML = "http://ec2.amazonaws.com/doc/2016-11-15/"
REGION = "us-east-1"

S3_ACTIONS = {
    ("PUT", True): "PutObject", ("POST", True): "PutObject", ("GET", True): "GetObject", ("HEAD", True): "GetObject",
    ("DELETE", True): "DeleteObject", ("GET", False): "ListBucket", ("HEAD", False): "ListBucket", ("PUT", False): "CreateBucket",
}  # fmt: skip
"""By method, and whether the path goes on behind the bucket's name: what permissions call it."""

StartResponse = Callable[..., Any]


class Layer:
    """A WSGI application around moto's."""

    def __init__(self, moto: Any, folder: Path, image: dict[str, Any]) -> None:
        self._moto = moto
        self._folder = folder
        self._image = image
        self.rules = Rules()
        self.machines: dict[str, Machine] = {}
        self.boot_seconds = 0.0
        self.network = "127.0.1"
        """Of the machines' addresses, which come round again as they do in the world."""
        self._answers: dict[str, tuple[str, bytes]] = {}
        """By ClientToken: digest of the request's parameters, and the answer."""
        self.launched: list[dict[str, Any]] = []
        """Every instance that was ever launched: id, attempt, market."""
        self._lock = threading.RLock()

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        import io

        environ["wsgi.input"] = io.BytesIO(body)
        if environ["PATH_INFO"].startswith("/_stand-in/"):
            return self._control(environ["PATH_INFO"].removeprefix("/_stand-in/"), body, start_response)
        action, parameters = _action(environ, body)
        self.rules.saw(action, {key: value for key, value in parameters.items() if "UserData" not in key})
        facts = {"by": "id" if "InstanceId.1" in parameters else "filter"}
        fault = self.rules.take(action, ("error", "delay", "drop", "lie", "late", "blind"), facts)
        if fault is not None and fault.effect == "error":
            return _answer(
                start_response,
                _s3_error(fault) if action in S3_ACTIONS.values() else _error(fault),
                "503 Fault" if fault.code in ("Unavailable", "SlowDown") else "400 Bad Request",
            )
        if fault is not None and fault.effect == "delay":
            time.sleep(fault.seconds)
        if fault is not None and fault.effect == "lie":
            instance_id = parameters.get("InstanceId.1", "")
            return _answer(start_response, _shutting_down(instance_id))
        if fault is not None and fault.effect == "blind":
            none = f'<DescribeInstancesResponse xmlns="{XML}"><reservationSet/></DescribeInstancesResponse>'
            return _answer(start_response, none.encode())
        if fault is not None and fault.effect == "drop":
            b"".join(self._do(action, parameters, environ, lambda *_: None))
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            return []
        if fault is not None and fault.effect == "late":
            done = self._do(action, parameters, environ, start_response)
            time.sleep(fault.seconds)
            return done
        return self._do(action, parameters, environ, start_response)

    def _do(
        self, action: str, parameters: dict[str, str], environ: dict[str, Any], start_response: StartResponse
    ) -> Iterable[bytes]:
        if action == "CreateFleet":
            with self._lock:
                return _answer(start_response, *self._create_fleet(parameters))
        if action == "GetProducts":  # moto knows no prices
            refusal = b'{"__type": "AccessDeniedException", "message": "there is no price list here"}'
            return _answer(start_response, refusal, "400 Bad Request", kind="application/x-amz-json-1.1")
        if action == "GetConsoleOutput":
            return _answer(start_response, self._console(parameters["InstanceId"]))
        if action == "GetParameter" and parameters.get("Name", "").startswith(IMAGE_PARAMETER):
            image = next(iter(self._ec2().amis))
            text = json.dumps({"Parameter": {"Name": parameters["Name"], "Type": "String", "Value": image}})
            return _answer(start_response, text.encode(), kind="application/x-amz-json-1.1")
        before = action == "TerminateInstances" and [
            value for key, value in parameters.items() if key.startswith("InstanceId.")
        ]
        answer = self._moto(environ, start_response)
        for instance_id in before or ():
            machine = self.machines.get(instance_id)
            if machine is not None:
                threading.Thread(target=machine.kill, daemon=True).start()
        return answer  # type: ignore[no-any-return]

    def _create_fleet(self, parameters: dict[str, str]) -> tuple[bytes, str]:
        token = parameters.get("ClientToken", secrets.token_hex(8))
        told = {key: value for key, value in parameters.items() if key != "ClientToken"}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
        if token in self._answers:
            if self._answers[token][0] != digest:
                return _error(Rule("", "", "IdempotentParameterMismatch")), "400 Bad Request"
            return self._answers[token][1], "200 OK"
        answer = self._fill_fleet(parameters)
        self._answers[token] = (digest, answer)
        return answer, "200 OK"

    def _fill_fleet(self, parameters: dict[str, str]) -> bytes:
        ec2 = self._ec2()
        market = parameters["TargetCapacitySpecification.DefaultTargetCapacityType"]
        prefix = "LaunchTemplateConfigs.1."
        template = ec2.get_launch_template(
            template_id=parameters[f"{prefix}LaunchTemplateSpecification.LaunchTemplateId"]
        )
        data = template.get_version(1).data
        tags = _tags(parameters, "instance")
        errors, made = [], ""
        for override in _numbered(parameters, f"{prefix}Overrides."):
            subnet, kind = override["SubnetId"], override["InstanceType"]
            zone = ec2.get_subnet(subnet).availability_zone
            facts = {"type": kind, "zone": zone, "market": market}
            rule = self.rules.take("CreateFleet", ("capacity",), facts)
            if rule is not None:
                errors.append(_fleet_error(rule, kind, subnet, market))
                continue
            made = self._launch(data, kind, subnet, market, tags, override)
            errors.clear()
            break
        return (
            f'<CreateFleetResponse xmlns="{XML}"><requestId>r</requestId><fleetId>fleet-{secrets.token_hex(8)}</fleetId>'
            f"<errorSet>{''.join(errors)}</errorSet><fleetInstanceSet>{made}</fleetInstanceSet></CreateFleetResponse>"
        ).encode()

    def _launch(
        self,
        data: dict[str, Any],
        kind: str,
        subnet: str,
        market: str,
        tags: dict[str, str],
        override: dict[str, str],
    ) -> str:
        ec2 = self._ec2()
        reservation = ec2.run_instances(
            data["ImageId"], 1, data.get("UserData"), [],
            instance_type=kind, is_instance_type_default=False, subnet_id=subnet, key_name=data.get("KeyName"),
            security_group_ids=list(data.get("SecurityGroupIds", ())), tags={"instance": dict(tags)},
            instance_initiated_shutdown_behavior=data.get("InstanceInitiatedShutdownBehavior"),
            metadata_options=data.get("MetadataOptions", {}), lifecycle="spot" if market == "spot" else None,
            associate_public_ip=True,
        )  # fmt: skip
        instance = reservation.instances[0]
        key = ec2.key_pairs[data["KeyName"]].material_public
        machine = Machine(
            self._folder / instance.id,
            f"{self.network}.{1 + len(self.machines) % 250}",
            instance.id,
            user_data=str(data.get("UserData", "")),
            public_key=base64.b64decode(key).decode() if not key.startswith(b"ssh-") else key.decode(),
            image=self._image,
            ended=lambda by_itself: self._shut_down(instance, by_itself),
            boot_seconds=self.boot_seconds,
        )
        self.machines[instance.id] = machine
        instance.nics[0].public_ip = machine.address
        self.launched.append(
            {"id": instance.id, "attempt": tags.get("tenyson:attempt"), "market": market, "type": kind}
        )
        return (
            f"<item><launchTemplateAndOverrides><overrides><instanceType>{kind}</instanceType>"
            f"<subnetId>{override['SubnetId']}</subnetId></overrides></launchTemplateAndOverrides>"
            f"<lifecycle>{market}</lifecycle><instanceIds><item>{instance.id}</item></instanceIds>"
            f"<instanceType>{kind}</instanceType></item>"
        )

    def _shut_down(self, instance: Any, by_itself: bool) -> None:
        """The machine ended without being told to by the API."""
        terminates = instance.instance_initiated_shutdown_behavior == "terminate"
        code = "Client.InstanceInitiatedShutdown" if by_itself else "Server.InternalError"
        self._mark(instance, "terminated" if terminates or not by_itself else "stopped", code)

    def _mark(self, instance: Any, state: str, code: str) -> None:
        from moto.ec2.models.instances import StateReason

        instance._state.name = state
        instance._state.code = 48 if state == "terminated" else 80
        instance.state_reason = StateReason(f"{code}: {code.partition('.')[2]}", code)

    def _console(self, instance_id: str) -> bytes:
        machine = self.machines.get(instance_id)
        text = base64.b64encode((machine.console if machine else "").encode()).decode()
        return (
            f'<GetConsoleOutputResponse xmlns="{XML}"><instanceId>{instance_id}</instanceId>'
            f"<timestamp>2026-01-01T00:00:00.000Z</timestamp><output>{text}</output></GetConsoleOutputResponse>"
        ).encode()

    def _ec2(self) -> Any:
        return get_backend("ec2")[DEFAULT_ACCOUNT_ID][REGION]

    # What tests do to it

    def _control(self, what: str, body: bytes, start_response: StartResponse) -> Iterable[bytes]:
        request = json.loads(body or b"{}")
        with self._lock:  # a launch changes what is read here
            answer = getattr(self, f"control_{what}")(**request)
        return _answer(start_response, json.dumps(answer).encode(), kind="application/json")

    def control_rule(self, **rule: Any) -> None:
        """A rule from now on."""
        self.rules.add(Rule(**rule))

    def control_clear(self) -> None:
        """No rules any more."""
        self.rules.clear()
        for machine in self.machines.values():
            machine.wire.stalled = machine.wire.refuses = False

    def control_state(self) -> dict[str, Any]:
        """Everything that is to be known."""
        instances = {one.id: one for one in self._ec2().all_instances()}
        return {
            "calls": self.rules.calls,
            "launched": self.launched,
            "machines": {
                name: {
                    "address": machine.address,
                    "state": instances[name].state if name in instances else "terminated",
                    "alive": not machine.stopped,
                    "console": machine.console,
                    "unauthenticated": machine.metadata.refused,
                    "tags": {tag["key"]: tag["value"] for tag in instances[name].get_tags()}
                    if name in instances
                    else {},
                    "user_data": base64.b64decode(str(instances[name].user_data or "")).decode()
                    if name in instances
                    else "",
                    "metadata_tokens": instances[name].metadata_options.http_tokens
                    if name in instances
                    else "",
                }
                for name, machine in self.machines.items()
            },
        }

    def control_boot(self, seconds: float) -> None:
        """How long a machine takes to boot."""
        self.boot_seconds = seconds

    def control_notice(self, instance_id: str) -> None:
        """The interruption notice appears on the machine."""
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 120))
        self.machines[instance_id].metadata.notice = {"action": "terminate", "time": at}

    def control_reclaim(self, instance_id: str) -> None:
        """The spot instance is taken back, now."""
        instance = self._ec2().get_instance(instance_id)
        self._mark(instance, "terminated", "Server.SpotInstanceTermination")
        self.machines[instance_id].kill()

    def control_crash(self, instance_id: str) -> None:
        """The host under it fails."""
        self._mark(self._ec2().get_instance(instance_id), "terminated", "Server.InternalError")
        self.machines[instance_id].kill()

    def control_wire(self, instance_id: str, **state: Any) -> None:
        """stalled, refuses, pace: set; cut: once; impostor: another sshd answers at this address."""
        wire = self.machines[instance_id].wire
        if state.pop("cut", False):
            wire.cut()
        if "impostor" in state:
            wire.target = (self.machines[state.pop("impostor")].address, 2223)
        for name, value in state.items():
            setattr(wire, name, value)

    def control_end(self) -> None:
        """All machines are switched off, and no longer cost."""
        for name, machine in self.machines.items():
            if not machine.stopped:
                machine.kill()
            self._mark(self._ec2().get_instance(name), "terminated", "Server.InternalError")


def _action(environ: dict[str, Any], body: bytes) -> tuple[str, dict[str, str]]:
    target = environ.get("HTTP_X_AMZ_TARGET")
    if target:
        try:
            return target.rpartition(".")[2], json.loads(body or b"{}")
        except ValueError:
            return target.rpartition(".")[2], {}
    if "x-www-form-urlencoded" in environ.get("CONTENT_TYPE", ""):
        parameters = dict(parse_qsl(body.decode(), keep_blank_values=True))
        return parameters.get("Action", ""), parameters
    if environ.get("HTTP_AUTHORIZATION", "").rpartition("/s3/")[1]:
        of_object = "/" in environ["PATH_INFO"].strip("/")
        return S3_ACTIONS.get((environ["REQUEST_METHOD"], of_object), ""), {}
    return "", {}


def _numbered(parameters: dict[str, str], prefix: str) -> list[dict[str, str]]:
    found: dict[int, dict[str, str]] = {}
    for key, value in parameters.items():
        if key.startswith(prefix):
            number, _, name = key.removeprefix(prefix).partition(".")
            found.setdefault(int(number), {})[name] = value
    return [found[number] for number in sorted(found)]


def _tags(parameters: dict[str, str], kind: str) -> dict[str, str]:
    for specification in _numbered(parameters, "TagSpecification."):
        if specification.get("ResourceType") == kind:
            return {tag["Key"]: tag["Value"] for tag in _numbered(specification, "Tag.")}
    return {}


def _answer(
    start_response: StartResponse, body: bytes, status: str = "200 OK", *, kind: str = "text/xml"
) -> list[bytes]:
    start_response(status, [("Content-Type", kind), ("Content-Length", str(len(body)))])
    return [body]


def _error(rule: Rule) -> bytes:
    return (
        f"<Response><Errors><Error><Code>{rule.code}</Code><Message>{rule.message}</Message></Error></Errors>"
        "<RequestID>r</RequestID></Response>"
    ).encode()


def _s3_error(rule: Rule) -> bytes:
    return f"<Error><Code>{rule.code}</Code><Message>{rule.message}</Message></Error>".encode()


def _fleet_error(rule: Rule, kind: str, subnet: str, market: str) -> str:
    return (
        f"<item><launchTemplateAndOverrides><overrides><instanceType>{kind}</instanceType><subnetId>{subnet}</subnetId>"
        f"</overrides></launchTemplateAndOverrides><lifecycle>{market}</lifecycle>"
        f"<errorCode>{rule.code}</errorCode><errorMessage>{rule.message}</errorMessage></item>"
    )


def _shutting_down(instance_id: str) -> bytes:
    return (
        f'<TerminateInstancesResponse xmlns="{XML}"><instancesSet><item><instanceId>{instance_id}</instanceId>'
        "<currentState><code>32</code><name>shutting-down</name></currentState></item></instancesSet>"
        "</TerminateInstancesResponse>"
    ).encode()
