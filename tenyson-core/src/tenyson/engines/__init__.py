"""How text is made: the Engine protocol, its implementations, and the renderer that all jobs share."""
