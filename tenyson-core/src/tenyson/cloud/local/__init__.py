"""The local backend: a job is a process on this machine."""

from typing import TYPE_CHECKING

from tenyson.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tenyson.cloud.local.backend import LocalBackend, LocalManager

__all__ = [
    "LocalBackend",
    "LocalManager",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "LocalBackend": "tenyson.cloud.local.backend",
            "LocalManager": "tenyson.cloud.local.backend",
        },
    )
