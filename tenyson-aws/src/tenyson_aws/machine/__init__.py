"""What runs on the instance beside core's machine code: the guard, and the bucket."""
