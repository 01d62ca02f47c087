"""Loading a model, and what is known of it before it is loaded: dimensions, memory, fingerprint, lineage."""
