"""Commands that take a trained model further: merge, push and serve."""
