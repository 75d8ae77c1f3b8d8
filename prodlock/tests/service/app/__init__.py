"""A service that adds prices."""

__version__ = "1.0.0"
