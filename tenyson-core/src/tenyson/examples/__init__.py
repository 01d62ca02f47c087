"""Import paths of examples that the specification names."""
