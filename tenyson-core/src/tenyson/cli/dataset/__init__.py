"""Commands that begin with a data file: look at it, train on it, evaluate on it."""
