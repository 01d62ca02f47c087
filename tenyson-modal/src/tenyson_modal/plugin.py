"""What this plugin registers."""

from __future__ import annotations

from collections.abc import Iterable

from tenyson.plugins import BackendEntry, hookimpl


@hookimpl
def tenyson_backends() -> Iterable[BackendEntry]:
    """Modal."""
    return [
        BackendEntry(
            name="modal",
            summary="Modal, serverless: one call in an app of its own for each job, its files in a volume",
            load="tenyson_modal.backend:ModalBackend",
            settings="tenyson_modal.settings:ModalSettings",
        )
    ]
