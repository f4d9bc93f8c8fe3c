"""How a Linux host enforces and accounts the resources of its containers."""

__version__ = "0.1.0"
