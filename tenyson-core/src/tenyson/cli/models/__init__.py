"""Commands that take a run's trained model further: merge and push."""
