"""What the controller and the container exchange: files and state in the volume, requests in a Dict."""
