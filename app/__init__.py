"""The service: the only code of this project that enters the production image."""

__version__ = "0.1.0"
