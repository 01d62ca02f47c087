"""What runs in Modal's container."""
