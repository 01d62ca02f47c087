"""Tenyson plugin: Modal."""
