"""Collect the evidence: images, lock, sources, Compose project, settings, and what production must be."""
