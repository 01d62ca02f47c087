"""The data sets of reasoning-gym as a task for Tenyson."""
