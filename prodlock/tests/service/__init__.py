"""The service that the tool's tests build and run: small, and independent of the example in this repository."""
