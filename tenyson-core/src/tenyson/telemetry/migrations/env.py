"""Alembic's entry point: runs the migrations on the connection, and in the transaction, that the caller has open."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="tenyson_schema")
context.run_migrations()
