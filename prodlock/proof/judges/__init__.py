"""Judge evidence by the rules: pure functions from records to findings, and the data that they look for."""
