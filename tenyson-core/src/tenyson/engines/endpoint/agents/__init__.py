"""Agents: programs that play a rollout by themselves, over an endpoint of their own."""
