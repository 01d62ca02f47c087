"""Where it runs: the Backend protocol, CloudManager over it, and the local backend.

The distributions that add backends are listed in `tenyson.plugins.discovery`.
"""

from typing import TYPE_CHECKING

from tenyson.core.lazy import lazy_exports

if TYPE_CHECKING:
    from tenyson.cloud.aws import AWSManager
    from tenyson.cloud.backend import Backend, BaseBackend, Estimate, Handle, Observation
    from tenyson.cloud.local.backend import LocalBackend, LocalManager
    from tenyson.cloud.manager import CloudManager
    from tenyson.cloud.modal import ModalManager

__all__ = [
    "AWSManager",
    "Backend",
    "BaseBackend",
    "CloudManager",
    "Estimate",
    "Handle",
    "LocalBackend",
    "LocalManager",
    "ModalManager",
    "Observation",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "AWSManager": "tenyson.cloud.aws",
            "Backend": "tenyson.cloud.backend",
            "BaseBackend": "tenyson.cloud.backend",
            "CloudManager": "tenyson.cloud.manager",
            "Estimate": "tenyson.cloud.backend",
            "Handle": "tenyson.cloud.backend",
            "LocalBackend": "tenyson.cloud.local.backend",
            "LocalManager": "tenyson.cloud.local.backend",
            "ModalManager": "tenyson.cloud.modal",
            "Observation": "tenyson.cloud.backend",
        },
    )
