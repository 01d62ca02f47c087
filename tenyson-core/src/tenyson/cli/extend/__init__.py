"""Commands for whoever extends Tenyson: `new` and `plugins`."""
