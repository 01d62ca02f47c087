"""Checks of a configuration against the libraries it is for, made before anything is loaded."""
