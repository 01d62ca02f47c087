"""What a job reads: prompts for RL and evaluation, games to imitate for SFT."""
