"""Commands on the telemetry database."""
