"""The private key that logs in: the one of the settings, or one that is made here and kept for a backend."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from tenyson.cloud.remote.ssh.errors import PrivateKeyError
from tenyson.cloud.remote.ssh.settings import SSHSettings
from tenyson.core.user import user_at_host


def key_folder(backend: str) -> Path:
    """Where a key that was made here is kept."""
    return Path(os.environ.get("TENYSON_HOME") or "~/.tenyson").expanduser() / backend


def private_key(settings: SSHSettings, backend: str) -> Path:
    """The file of the private key, of the settings or of this machine."""
    return Path(settings.key_path).expanduser() if settings.key_path else key_folder(backend) / "id_ed25519"


def require_key(settings: SSHSettings) -> None:
    """Raises: PrivateKeyError: the settings name a file that is not there."""
    if settings.key_path and not Path(settings.key_path).expanduser().is_file():
        raise _missing(settings.key_path)


def public_key(settings: SSHSettings, backend: str, *, make: bool = True) -> tuple[Path, str]:
    """The file of the private key and its public half in OpenSSH's format; made with `make` where the settings name none.

    Raises: PrivateKeyError: it is missing, or cannot be read.
    """
    import asyncssh

    path = private_key(settings, backend)
    if not path.is_file():
        if settings.key_path or not make:
            raise _missing(str(path))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_key(path)
    try:
        key = asyncssh.read_private_key(str(path))
    except (OSError, asyncssh.KeyImportError) as error:
        raise PrivateKeyError(
            f"the private key cannot be read: {error}",
            place=str(path),
            next_step="A key with a passphrase is not for unattended work: make one without, or leave key_path out.",
        ) from error
    return path, key.export_public_key().decode().strip()


def _missing(path: str) -> PrivateKeyError:
    return PrivateKeyError(
        "there is no such private key",
        place=path,
        next_step="Set backend.settings.key_path to the file of the private key.",
    )


def _make_key(path: Path) -> None:
    """A new private key, there whole or not at all; of several processes the first one's stands."""
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519", comment=f"tenyson {user_at_host()}")
    file, draft = tempfile.mkstemp(dir=path.parent)  # readable by nobody else
    with os.fdopen(file, "wb") as stream:
        stream.write(key.export_private_key())
    with contextlib.suppress(FileExistsError):
        os.link(draft, path)
    Path(draft).unlink()
