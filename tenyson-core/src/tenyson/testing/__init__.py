"""For plugin authors: the contracts of a task (`tasks`), a sink (`sinks`) and a backend (`backends`) as test classes to subclass,
which need pytest; a tiny model (`tiny`); a job that only ticks (`ticking`).
"""
