"""Configurations, checked, shown and described; completion of shells."""
