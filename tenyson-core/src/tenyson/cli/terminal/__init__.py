"""How output looks on a terminal."""
