"""The sinks that come with core: sql, jsonl, console, wandb."""
