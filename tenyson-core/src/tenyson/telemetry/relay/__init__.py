"""Telemetry of a rented machine, carried by whoever rented it."""
