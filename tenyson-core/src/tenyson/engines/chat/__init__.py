"""Engines that take messages and return messages, such as models behind a URL, and how rollouts are played with them."""
