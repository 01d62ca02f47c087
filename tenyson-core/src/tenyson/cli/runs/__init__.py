"""Commands about runs.

`columns` is the list of `tenyson runs`; stored values are fields of `tenyson.telemetry.read.record`.
"""
