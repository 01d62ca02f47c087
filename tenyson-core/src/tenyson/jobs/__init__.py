"""What runs: SFTJob, RLJob, EvalJob, and the JobResult they return."""
