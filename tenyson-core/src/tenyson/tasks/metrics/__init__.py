"""What rollouts are measured by: metrics with their intervals, and the checks of what a task says of rewards and metrics."""
