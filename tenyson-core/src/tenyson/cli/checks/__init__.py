"""Commands that check a job without starting it for real."""
