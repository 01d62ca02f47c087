"""Tenyson plugin: the Wordle task."""
