"""Saving, publishing, verifying and resuming checkpoints."""
