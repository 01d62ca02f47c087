"""SQLite is refused where its locks do not hold: on a network file system."""

from pathlib import Path

import pytest

from tenyson.core.files import filesystem
from tenyson.errors import TelemetryError
from tenyson.telemetry.database.engine import open_database

MOUNTS = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / {base}/on\040the\040server rw,relatime shared:2 - nfs4 server:/x rw
31 30 0:27 / {base}/on\040the\040server/scratch rw,relatime - xfs /dev/sdb1 rw
32 22 0:28 / {base}/twice rw - cifs //server/x rw
33 22 0:29 / {base}/twice rw - tmpfs tmpfs rw
34 22 0:30 / {base}/bucket rw - fuse.s3fs s3fs rw
"""


@pytest.fixture
def mounts(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS.replace("{base}", str(tmp_path)))
    return path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("on the server", "nfs4"),
        ("on the server/deep/down", "nfs4"),
        ("on the server/scratch/x", None),  # a local disk, mounted within
        ("on the servers", None),
        ("twice", None),  # the later mount hides the earlier one
        ("bucket", "fuse.s3fs"),
        (".", None),
    ],
)
def test_the_mount_that_holds_a_path_is_found(mounts, tmp_path, folder, kind):
    """The longest mount point that the path lies in; a blank in its name is written as \\040."""
    assert filesystem.is_on_network(tmp_path / folder / "t.db", mounts) == kind


def test_a_link_is_followed(mounts, tmp_path):
    """What counts is where the file is."""
    (tmp_path / "on the server").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "on the server")
    assert filesystem.is_on_network(tmp_path / "link" / "t.db", mounts) == "nfs4"


def test_sqlite_on_a_network_file_system_is_refused_with_the_reason(mounts, tmp_path, monkeypatch):
    """And with what to do instead; no file is made."""
    monkeypatch.setattr(
        "tenyson.telemetry.database.engine.is_on_network", lambda path: filesystem.is_on_network(path, mounts)
    )
    with pytest.raises(TelemetryError, match=r"network file system \(nfs4\)") as caught:
        open_database(f"sqlite:///{tmp_path}/on the server/t.db", create=True)
    assert "PostgreSQL" in str(caught.value)
    assert not (tmp_path / "on the server").exists()


def test_this_machines_own_disk_is_no_network():
    """The real /proc/self/mountinfo is read."""
    assert filesystem.filesystem_type(Path("/proc/self")) == "proc"
