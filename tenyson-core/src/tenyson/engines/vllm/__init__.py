"""vLLM: an engine for evaluation, and one whose weights follow a policy in training."""
