"""What a tool raises to tell the model."""


class ToolError(Exception):
    """Raise it in a tool to tell the model what was wrong with its call; the rollout continues."""
