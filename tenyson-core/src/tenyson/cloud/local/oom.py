"""Out of memory: how often the kernel has killed a process of this container, by the kernel's own count."""

from __future__ import annotations

from pathlib import Path


def oom_kills(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Processes killed by the kernel for want of memory so far; None where nothing counts them.

    Read from `oom_kill` of cgroup v2's memory.events or v1's memory.oom_control of our own group, else from
    the whole machine's /proc/vmstat. The difference between two calls tells whether one fell in between.
    """
    for path in [*_own_counters(proc, cgroups), proc / "vmstat"]:
        try:
            lines = path.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill" and count.strip().isdigit():
                return int(count)
    return None


def _own_counters(proc: Path, cgroups: Path) -> list[Path]:
    try:
        memberships = (proc / "self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    counters = []
    for membership in memberships:
        _, controllers, path = membership.split(":", 2)
        # Inside a container the group may be mounted as the root: then the path leads nowhere, and the root counts.
        if "memory" in controllers.split(","):
            root = cgroups / "memory"
            counters += [root / path.lstrip("/") / "memory.oom_control", root / "memory.oom_control"]
        elif controllers == "":
            counters += [cgroups / path.lstrip("/") / "memory.events", cgroups / "memory.events"]
    return counters
