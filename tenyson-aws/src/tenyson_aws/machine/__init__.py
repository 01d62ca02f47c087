"""What runs on the rented machine. `install.sh` and `watchdog.sh` are sent as they are, like core's `poll.py`."""
