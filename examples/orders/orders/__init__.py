"""Orders in a database."""
