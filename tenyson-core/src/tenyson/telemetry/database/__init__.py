"""The telemetry database: its schema, how it is opened, and how events become rows.

A column of `runs` or `attempts` says in `tables` (TOLD, FOUND) what fills it; `rows` is for what each step writes.
"""
