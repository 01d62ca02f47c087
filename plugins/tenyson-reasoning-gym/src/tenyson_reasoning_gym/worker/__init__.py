"""The process in which reasoning-gym runs: it generates entries and scores answers for the task."""
