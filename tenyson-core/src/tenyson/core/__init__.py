"""Import paths that the specification names: tenyson.core.control."""
