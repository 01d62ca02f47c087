"""The games of textarena as a task for Tenyson."""
