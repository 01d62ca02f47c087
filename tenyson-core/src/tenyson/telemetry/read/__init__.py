"""Reading the telemetry database. Nothing here writes."""
