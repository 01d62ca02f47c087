"""The process in which textarena runs: it deals games, takes moves, and plays the opponent."""
