"""Wordle as a task to learn: the game, its words, solvers, rewards and metrics, and presets from tiny to 4 B."""
