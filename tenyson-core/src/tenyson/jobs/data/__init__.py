"""What a job reads of its task, and what it measures."""
