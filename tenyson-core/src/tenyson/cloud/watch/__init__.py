"""Following a submitted job until its result is known."""
