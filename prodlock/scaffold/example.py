"""Start a new service from the example of Prodlock's repository."""
