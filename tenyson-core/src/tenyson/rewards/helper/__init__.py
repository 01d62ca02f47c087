"""Computations that may never end, in processes that can be ended: a thread cannot."""
