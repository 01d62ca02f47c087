"""What every backend shares that rents a machine: what is shipped there, the files that come back, the record of an attempt, and
the thread that supervises it."""
