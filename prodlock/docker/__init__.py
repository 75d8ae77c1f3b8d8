"""Run docker: the only package that does."""
