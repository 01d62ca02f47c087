"""Tenyson: multi-step post-training research on language models."""

__version__ = "0.1.0"
