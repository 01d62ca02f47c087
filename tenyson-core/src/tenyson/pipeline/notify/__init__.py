"""Telling people what happened, through an outbox that survives crashes."""
