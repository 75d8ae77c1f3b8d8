"""Invoices in Postgres, where the extra is installed."""

try:
    import psycopg
except ImportError:
    psycopg = None


def connect(dsn: str):
    """Return a connection."""
    if psycopg is None:
        raise RuntimeError("install billing[postgres]")
    return psycopg.connect(dsn)
