"""What runs on the machine. `install.sh` and `watchdog.sh` are sent as they are, like `poll.py`."""
