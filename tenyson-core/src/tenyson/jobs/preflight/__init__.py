"""Preflight: what can be known to go wrong before the first step, found and explained.

Each file holds the checks of one subject; each check is a function that yields findings.
"""
