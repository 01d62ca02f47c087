"""The engine my-thing of Tenyson: a chain of tokens, which needs no model."""
