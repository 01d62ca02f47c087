"""For plugin authors: the contracts of a task (`tasks`), a sink (`sinks`), a backend (`backends`) and a kind of job (`jobs`) as test classes to subclass,
which need pytest; a tiny model (`tiny`); a job that only ticks (`ticking`).
"""
