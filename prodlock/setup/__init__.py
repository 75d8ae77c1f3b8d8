"""Prepare a machine: Docker Engine, Compose, Buildx and the base image."""
