"""What happens in a rollout: the conversation, the environment that plays it, and its rewards."""
