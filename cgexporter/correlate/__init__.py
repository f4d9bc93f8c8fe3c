"""Whose cgroup is it: container, pod, or a part of the host."""
