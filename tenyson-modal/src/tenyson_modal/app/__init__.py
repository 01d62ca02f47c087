"""One Modal app for an attempt: image, launch, state of its call, clean-up."""
