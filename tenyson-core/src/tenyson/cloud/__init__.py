"""Where it runs: the Backend protocol, CloudManager over it, and the local backend."""
