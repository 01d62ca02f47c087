"""The kind of job my-thing of Tenyson: how surprising a task's own completions are to a model."""
