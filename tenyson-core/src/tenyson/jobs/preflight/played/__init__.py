"""What RL and evaluation play: prompts, groups, and the task's environment, tools and rewards, tried before there is a model."""
