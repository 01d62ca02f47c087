"""The journal: a pipeline's durable state in SQL."""
