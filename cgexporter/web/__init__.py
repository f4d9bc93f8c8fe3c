"""The way in: sockets, TLS, who may ask, and how much of it."""
