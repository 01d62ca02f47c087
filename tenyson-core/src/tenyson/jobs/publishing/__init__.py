"""Publishing: what a run has trained, as a model directory for other programs, and on the Hub with a card."""
