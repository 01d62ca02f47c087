"""How AWS is asked: clients, the classes of its failures, names and tags, the IAM policy."""
