"""The sink my-thing of Tenyson: metrics as a CSV file."""
