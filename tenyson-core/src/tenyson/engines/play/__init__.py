"""Playing rollouts with an engine: together, turn by turn, or independently of each other."""

from tenyson.engines.play.together import Generate, Trajectory, give_up, play

__all__ = ["Generate", "Trajectory", "give_up", "play"]
