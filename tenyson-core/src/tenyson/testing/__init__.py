"""For plugin authors: contracts as test classes to subclass, which need pytest: of a task (`tasks`), a sink (`sinks`), a backend (`backends`),
an engine (`engines`, `chat_engines`), a kind of job (`jobs`), report helpers and commands; a tiny model (`tiny`); a job that only
ticks (`ticking`).
"""
