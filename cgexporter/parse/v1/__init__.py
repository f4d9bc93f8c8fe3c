"""The cgroup v1 twins. Source: Documentation/admin-guide/cgroup-v1/."""
