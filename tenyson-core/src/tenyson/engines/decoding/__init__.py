"""Decoding: generates several turns of many conversations without computing anything twice.

Its modules import torch: import them only inside a job.
"""
