"""Driving a pipeline: launching steps, following them, deciding what comes after a failure."""
