"""Prove what a production image contains: evidence is collected, rules judge it, a report prints the findings."""
