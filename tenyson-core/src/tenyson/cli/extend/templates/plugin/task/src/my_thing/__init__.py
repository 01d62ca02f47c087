"""The task my-thing of Tenyson: sort three letters."""
