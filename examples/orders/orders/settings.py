"""Read the service's settings from the environment."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL, make_url

# Where Compose mounts the password of the database; an address with a password of its own does not need it.
PASSWORD = Path("/run/secrets/db_password")


def database_url() -> URL:
    """Return the address of the database: DATABASE_URL, completed by the password in the secret."""
    url = make_url(os.environ.get("DATABASE_URL") or "postgresql+psycopg://app@db/app")
    if url.password is None and PASSWORD.is_file():
        return url.set(password=PASSWORD.read_text(encoding="utf-8").strip())
    return url
