"""The backend my-thing of Tenyson: jobs on this machine, with a lower priority."""
