"""The host: a machine is known by its machine id and its boot id, not by its name, which another one may have tomorrow."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

Relation = Literal["here", "rebooted", "elsewhere"]
"""Of a host of then to this process: processes of then can be looked at; they are gone with a boot; nothing can be said of them."""

_MACHINE_FILES = ("/etc/machine-id", "/var/lib/dbus/machine-id")


def this_host() -> dict[str, str | None]:
    """Name, machine id, boot id and pid namespace; None for what this system does not tell."""
    linux = sys.platform == "linux"
    return {
        "host": socket.gethostname(),
        "machine": _hashed(_first_line(*_MACHINE_FILES) if linux else _mac_machine()),
        "boot": _first_line("/proc/sys/kernel/random/boot_id") if linux else _mac_boot(),
        # Containers of one machine share its boot, but cannot see each other's processes.
        "space": _space(),
    }


def relation(then: Any, now: Mapping[str, Any] | None = None) -> Relation:
    """How the host that `then` describes (`this_host`, or a name and a process's mark, as earlier versions wrote) is to this one.

    A machine that has booted since, and one whose id was copied with its disk, look alike: `rebooted` proves nothing about
    a process that still renews its lease.
    """
    if not isinstance(then, Mapping):
        return "elsewhere"
    now = now or this_host()
    same_name = then.get("host") == now.get("host")
    boot = then.get("boot") or _boot_of(then.get("mark"))
    if boot and now.get("boot"):
        if boot == now["boot"]:
            spaces = (then.get("space"), now.get("space"))
            return "here" if None in spaces or spaces[0] == spaces[1] else "elsewhere"
        if "machine" in then:
            known = then["machine"] is not None and then["machine"] == now.get("machine")
        else:
            known = same_name
        return "rebooted" if known else "elsewhere"
    if then.get("machine") and now.get("machine"):
        return "here" if then["machine"] == now["machine"] else "elsewhere"
    return "here" if same_name and then.get("space") == now.get("space") else "elsewhere"


def _boot_of(mark: Any) -> str | None:
    """A process's mark begins with the boot id on Linux (`tenyson.cloud.local.process`)."""
    boot, slash, _ = str(mark or "").partition("/")
    return boot if slash else None


def _first_line(*files: str) -> str | None:
    for file in files:
        try:
            found = Path(file).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            continue
        if found and found != "uninitialized":
            return found
    return None


def _hashed(machine: str | None) -> str | None:
    """A machine id is confidential (machine-id(5)): what is stored and shared is made from it."""
    return None if machine is None else sha256(f"tenyson {machine}".encode()).hexdigest()[:32]


def _mac_machine() -> str | None:
    said = _said("ioreg", "-rd1", "-c", "IOPlatformExpertDevice")
    found = [line.rpartition("=")[2].strip(' "') for line in said.splitlines() if "IOPlatformUUID" in line]
    return found[0] if found else None


def _mac_boot() -> str | None:
    return _said("sysctl", "-n", "kern.bootsessionuuid").strip() or None


def _said(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=5).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _space() -> str | None:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return None
