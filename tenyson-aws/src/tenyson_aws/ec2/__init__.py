"""One EC2 instance for a job: image, access, placement, launch, state and clean-up."""
