"""What the machine runs before anything else, at every boot: the watchdog that ends it. As user data, which anyone may read."""

from __future__ import annotations

import re
from importlib.resources import files

_HOST_KEY = re.compile(r"tenyson-host-key: ((?:ssh|ecdsa)-\S+ [A-Za-z0-9+/=]+)")


def boot_script(lifetime_seconds: int, idle_seconds: int) -> str:
    """A boothook of cloud-init, which runs early and at every boot: it starts the watchdog on its own.

    The boot waits for it, SSH and all. So it waits for nothing, and the watchdog's unit is not ordered after the boot:
    else each would wait for the other for ever. A unit outlives cloud-init's clean-up, which setsid alone may not.
    """
    scripts = files("tenyson.cloud.remote.ssh.machine")
    watchdog = scripts.joinpath("watchdog.sh").read_text(encoding="utf-8")
    return f"""#cloud-boothook
#!/bin/sh
mkdir -p /opt/tenyson
cat >/opt/tenyson/watchdog.sh <<'WATCHDOG'
{watchdog}WATCHDOG
if [ -d /run/systemd/system ]; then
    systemd-run --no-block --unit=tenyson-watchdog --property=DefaultDependencies=no --property=Restart=always \\
        sh /opt/tenyson/watchdog.sh {lifetime_seconds} {idle_seconds} && exit 0
fi
setsid sh /opt/tenyson/watchdog.sh {lifetime_seconds} {idle_seconds} </dev/null >/dev/null 2>&1 &
"""


def host_keys_in(console: str) -> list[str]:
    """The host keys that the watchdog wrote on the machine's console, in OpenSSH's format; empty while it has not."""
    return list(dict.fromkeys(_HOST_KEY.findall(console)))
