"""The process a job runs in: its ranks, its folders, what it prints, and how it ends."""
