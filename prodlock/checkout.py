"""The project that the tool works on: its folder, the files that describe it, and what of it ships."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parent.parent
# The Compose files that a plain `docker compose` reads, and their overrides: of each kind the first that exists.
COMPOSE_FILES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
OVERRIDES = (
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
)
# What the Dockerfile's stage `sources` takes into production.
SOURCES = ("app", "prodlock/__init__.py", "prodlock/server")
