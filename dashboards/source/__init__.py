"""Dashboards and rules, as Python; `python3 dev.py dashboards` writes the files beside it."""
