"""Import paths of the Wordle example; its code is in tenyson-wordle."""
