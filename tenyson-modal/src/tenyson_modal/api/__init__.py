"""How Modal is asked: the classes of its failures, names, and values read without unpickling."""
