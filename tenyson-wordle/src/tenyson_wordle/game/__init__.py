"""The game itself: words, rules, board, what is known of the secret, and solvers."""
