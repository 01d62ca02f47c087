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
            summary="Modal functions with GPUs (launching comes with a later version)",
            load="tenyson_modal.backend:ModalBackend",
            settings="tenyson_modal.settings:ModalSettings",
        )
    ]
