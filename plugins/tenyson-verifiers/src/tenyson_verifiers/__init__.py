"""Environments of verifiers as a task for Tenyson."""
