"""What a pipeline consists of: steps, their dependencies, and the plan for running them.

`expand` writes out the cells of a sweep, whatever its kind.
"""
