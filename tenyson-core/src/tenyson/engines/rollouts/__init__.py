"""Rollouts: what runs beside generation, such as steps of environments, calls of tools and rewards. Needs no torch."""
