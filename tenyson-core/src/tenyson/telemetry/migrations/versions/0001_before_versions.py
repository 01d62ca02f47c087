"""The schema of Tenyson 0.1 before it was versioned: a database that has it is stamped, never recreated."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Nothing: the tables are there."""
