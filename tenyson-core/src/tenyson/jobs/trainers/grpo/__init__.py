"""What GRPO on a task adds to TRL's trainer, one concern a file."""
