"""Environments of OpenEnv servers as a task for Tenyson."""
