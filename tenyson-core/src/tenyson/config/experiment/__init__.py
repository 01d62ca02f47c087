"""Experiment files: their shape, what each problem with one is called, and a JSON Schema of them for editors.

The keys are in `schema`, the kinds of sweep in `sweep`.
"""
