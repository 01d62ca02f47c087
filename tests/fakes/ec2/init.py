"""PID 1 of a machine: makes its file system, runs its user data, starts its sshd, and ends when it is told to shut down.

    unshare --mount --pid --uts --fork --kill-child python3 init.py FOLDER

FOLDER holds machine.json, user-data, authorized_keys; written there: console, shutdown, root/.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

folder = Path(sys.argv[1])
about = json.loads((folder / "machine.json").read_text())
root = folder / "root"


SYSTEMD_RUN = """#!/bin/sh
# As the real one while cloud-init runs: a unit with default dependencies starts after the boot, which waits for cloud-init,
# so whoever waits for such a unit waits for ever.
case "$*" in
*--no-block*--property=DefaultDependencies=no*) ;;
*) while [ ! -e /run/booted ]; do sleep 0.1; done ;;
esac
while case "$1" in --*) true ;; *) false ;; esac; do shift; done
setsid "$@" </dev/null >/dev/null 2>&1 &
"""


def run(*command: str | Path) -> None:
    subprocess.run([str(word) for word in command], check=True)


def mount_everything() -> None:
    """An overlay of this machine's own root, so that nothing that is written there is seen here; and nothing of the checkout."""
    for name in ("root", "layers"):
        (folder / name).mkdir(exist_ok=True)
    run("mount", "--make-rprivate", "/")
    run("mount", "-t", "tmpfs", "tmpfs", folder / "layers")
    for name in ("upper", "scratch"):
        (folder / "layers" / name).mkdir()
    run("mount", "-t", "overlay", "overlay", "-o",
        f"lowerdir=/,upperdir={folder}/layers/upper,workdir={folder}/layers/scratch", root)  # fmt: skip
    run("mount", "-t", "proc", "proc", root / "proc")
    run("mount", "--rbind", "/sys", root / "sys")
    run("mount", "-t", "tmpfs", "tmpfs", root / "dev")
    for name in ("null", "zero", "full", "random", "urandom", "tty"):
        (root / "dev" / name).touch()
        run("mount", "--bind", f"/dev/{name}", root / "dev" / name)
    for name in ("shm", "pts"):
        (root / "dev" / name).mkdir()
    run("mount", "-t", "devpts", "devpts", "-o", "newinstance,ptmxmode=0666", root / "dev/pts")
    (root / "dev/ptmx").symlink_to("pts/ptmx")
    for link, target in (
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
    ):
        (root / "dev" / link).symlink_to(target)
    (folder / "console").touch()
    (root / "dev/console").touch()
    run("mount", "--bind", folder / "console", root / "dev/console")
    for place in ("tmp", "run", "opt/tenyson", *about["hidden"]):
        path = root / str(place).lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        run("mount", "-t", "tmpfs", "tmpfs", path)
    for source, place in about["shared"].items():
        path = root / place.lstrip("/")
        path.mkdir(parents=True, exist_ok=True)
        run("mount", "--bind", source, path)


def write(path: str, text: str, mode: int = 0o644) -> None:
    place = root / path.lstrip("/")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)
    place.write_text(text)
    place.chmod(mode)


def furnish() -> None:
    """Host key, sshd's settings, the tools of an image, and a shutdown that ends this namespace."""
    for old in (root / "etc/ssh").glob("ssh_host_*"):
        old.unlink()
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", root / "etc/ssh/ssh_host_ed25519_key")
    write("/root/authorized_keys", (folder / "authorized_keys").read_text(), 0o600)
    environment = " ".join(f'{name}="{value}"' for name, value in about["environment"].items())
    write(
        "/etc/ssh/sshd_config",
        f"""ListenAddress {about["address"]}
Port {about["sshd_port"]}
HostKey /etc/ssh/ssh_host_ed25519_key
AuthorizedKeysFile /root/authorized_keys
PermitRootLogin prohibit-password
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
MaxStartups 100
SetEnv {environment}
""",
    )
    for name, text in about["files"].items():
        write(name, text)
    (root / "run/sshd").mkdir()
    (root / "run/systemd/system").mkdir(parents=True)
    write("/usr/local/sbin/systemd-run", SYSTEMD_RUN, 0o755)
    for name in ("shutdown", "poweroff"):
        write(
            f"/usr/local/sbin/{name}",
            '#!/bin/sh\necho "$0 $*" >>/dev/console\ntouch /run/shutdown\nkill -TERM 1\n',
            0o755,
        )


def main() -> None:
    mount_everything()
    furnish()
    run("hostname", about["hostname"])
    os.chroot(root)
    os.chdir("/")
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        **about["environment"],
    }

    def end(_number: int, _frame: object) -> None:
        # The last of the kernel: everything in the namespace dies with us.
        os._exit(10 if Path("/run/shutdown").exists() else 0)

    signal.signal(signal.SIGTERM, end)
    Path("/var/lib/cloud").mkdir(parents=True, exist_ok=True)
    Path("/var/lib/cloud/user-data").write_text(about["user_data"])
    # As cloud-init does: nothing else of the boot goes on before a boothook has ended.
    subprocess.run(["sh", "/var/lib/cloud/user-data"], env=environment, stdin=subprocess.DEVNULL,
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)  # fmt: skip
    Path("/run/booted").touch()
    subprocess.Popen(["/usr/sbin/sshd", "-D", "-E", "/run/sshd.log"], env=environment)
    while True:
        # Orphans of the namespace are ours.
        try:
            os.wait()
        except ChildProcessError:
            signal.pause()


main()
