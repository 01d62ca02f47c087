"""A program of a model's, run with limits and cut off from network, other processes and files of the machine."""
