"""The shop's nightly jobs."""
