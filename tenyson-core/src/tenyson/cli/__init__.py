"""The command line: tenyson ..."""
