"""Views for people and scripts on this host; imported by nothing that serves."""
