"""Tenyson plugin: AWS EC2."""
