"""User data: what the machine runs before anything else, at every boot: the watchdog that ends it. Anyone may read it."""

from __future__ import annotations

from importlib.resources import files

MOST_BYTES = 16384
"""The most that EC2 takes, before base64."""


def user_data(lifetime_seconds: int, idle_seconds: int) -> str:
    """A cloud-boothook, which runs early and at every boot: it starts the watchdog on its own.

    The boot waits for it, SSH and all. So it waits for nothing, and the watchdog's unit is not ordered after the boot:
    else each would wait for the other for ever. A unit outlives cloud-init's clean-up, which setsid alone may not.
    """
    watchdog = files("tenyson.cloud.remote.ssh.machine").joinpath("watchdog.sh").read_text(encoding="utf-8")
    text = f"""#cloud-boothook
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
    assert len(text.encode()) < MOST_BYTES
    return text
