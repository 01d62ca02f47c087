"""What a machine runs first: the watchdog is started whatever the image, and the boot waits for nothing."""

import os
import subprocess
import time
from importlib.resources import files

import pytest
from tests.fakes.waiting import wait_for

from tenyson.cloud.remote.ssh.boot import boot_script

RECORDS = """#!/bin/sh
echo "$*" >>{folder}/{name}
exit {code}
"""


def boot(folder, *, systemd=True, code=0):
    """Run the text as a boot does, in a folder of its own; returns what each of the two ways was asked to start."""
    place, sign, tools = folder / "opt", folder / "systemd", folder / "tools"
    for path in (place, tools, *([sign] if systemd else [])):
        path.mkdir()
    for name, ends in (("systemd-run", code), ("setsid", 0)):
        (tools / name).write_text(RECORDS.format(folder=folder, name=name, code=ends))
        (tools / name).chmod(0o755)
    text = (
        boot_script(7200, 3600).replace("/opt/tenyson", str(place)).replace("/run/systemd/system", str(sign))
    )
    script = folder / "boothook"
    script.write_text(text)
    subprocess.run(
        ["sh", str(script)],
        env={"PATH": f"{tools}:{os.environ['PATH']}"},
        check=True,
        timeout=20,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 10
    while not ((folder / "setsid").exists() or (systemd and code == 0)):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (place / "watchdog.sh").read_text().startswith("#!/bin/sh")
    return [
        (folder / name).read_text().split() if (folder / name).exists() else []
        for name in ("systemd-run", "setsid")
    ]


def test_a_boot_does_not_wait_for_the_watchdog_and_the_watchdog_not_for_the_boot(tmp_path):
    """cloud-init runs a boothook before sysinit.target, and waits for it: a unit that comes after that target never starts."""
    unit, alone = boot(tmp_path)
    assert {"--no-block", "--property=DefaultDependencies=no", "--property=Restart=always"} <= set(unit)
    assert unit[-4:] == ["sh", f"{tmp_path}/opt/watchdog.sh", "7200", "3600"]
    assert alone == []


@pytest.mark.parametrize(("systemd", "code"), [(False, 0), (True, 1)])
def test_without_systemd_and_where_it_refuses_the_watchdog_runs_all_the_same(tmp_path, systemd, code):
    """In a session of its own."""
    unit, alone = boot(tmp_path, systemd=systemd, code=code)
    assert bool(unit) == systemd
    assert alone == ["sh", f"{tmp_path}/opt/watchdog.sh", "7200", "3600"]


def test_host_keys_that_are_made_during_the_boot_are_shown_though_the_image_came_with_others(tmp_path):
    """Also when those were shown as often as any are: cloud-init makes new ones once the watchdog runs."""
    text = files("tenyson.cloud.remote.ssh.machine").joinpath("watchdog.sh").read_text()
    places = {"/opt/tenyson": "home", "/run/tenyson": "run", "/etc/ssh": "ssh", "/dev/console": "console"}
    for place, name in places.items():
        text = text.replace(place, str(tmp_path / name))
    (tmp_path / "ssh").mkdir()
    key, console = tmp_path / "ssh/ssh_host_ed25519_key.pub", tmp_path / "console"
    key.write_text("ssh-ed25519 OLD root@image\n")
    script = tmp_path / "watchdog.sh"
    script.write_text(text.replace(">" + str(console), ">>" + str(console)).replace("sleep 2", "sleep 0.05"))
    watchdog = subprocess.Popen(["sh", str(script), "3600", "3600"])
    try:
        wait_for(lambda: console.exists() and console.read_text().count("ssh-ed25519 OLD\n") == 3, 20)
        key.write_text("ssh-ed25519 NEW root@machine\n")
        wait_for(lambda: "tenyson-host-key: ssh-ed25519 NEW\n" in console.read_text(), 20)
    finally:
        watchdog.kill()
