"""The telemetry database: its schema, how it is opened, and how events become rows."""
