"""Files: written whole, their digests, the ends of logs, the cache, and the file systems that they are on."""
