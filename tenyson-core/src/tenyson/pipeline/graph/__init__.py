"""What a pipeline consists of: steps, their dependencies, and the plan for running them."""
