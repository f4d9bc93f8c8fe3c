"""From what was asked of a container to what the kernel enforces, and back: pure functions."""
