"""Tenyson plugin: AWS EC2. `AWSManager` is in `tenyson.cloud.aws`."""

__version__ = "0.1.0"
