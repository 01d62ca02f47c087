"""The spool: events on disk before they are in a database, so that an outage or a kill loses none."""
