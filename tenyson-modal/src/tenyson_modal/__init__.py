"""Tenyson plugin: Modal. `ModalManager` is in `tenyson.cloud.modal`."""

__version__ = "0.1.0"
