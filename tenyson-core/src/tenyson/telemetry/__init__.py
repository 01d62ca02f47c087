"""What is recorded: events, their dispatch to sinks, and control over a running job."""
