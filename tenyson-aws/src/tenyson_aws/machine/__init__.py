"""What runs on the rented machine. `look.py`, `install.sh` and `watchdog.sh` stand alone: they are sent as they are."""
