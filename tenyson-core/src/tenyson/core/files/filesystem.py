"""Which kind of file system holds a path: SQLite's locks and its WAL do not work over a network."""

from __future__ import annotations

import os
from pathlib import Path

NETWORK = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "fuse.ceph", "fuse.curlftpfs", "fuse.gcsfuse", "fuse.glusterfs",
        "fuse.goofys", "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "gfs2", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs",
        "nfs4", "ocfs2", "orangefs", "smb3", "smbfs", "wekafs",
    }
)  # fmt: skip
"""Types, as /proc/self/mountinfo names them, of file systems that several machines share."""
MOUNTS = Path("/proc/self/mountinfo")


def filesystem_type(path: Path, mounts: Path = MOUNTS) -> str | None:
    """Type of the file system that holds `path` (or would, if it is not there yet); None where the kernel does not tell."""
    try:
        lines = mounts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    target = os.path.realpath(path)
    best, found = "", None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = fields[4].encode().decode("unicode_escape")  # a blank is written as \040
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        # Of several mounts on one point the last one is seen.
        if inside and len(point) >= len(best):
            best, found = point, after.split(" ")[0]
    return found


def is_on_network(path: Path, mounts: Path = MOUNTS) -> str | None:
    """The type of the network file system that holds `path`; None where it is a local one, or unknown."""
    found = filesystem_type(path, mounts)
    return found if found in NETWORK else None
