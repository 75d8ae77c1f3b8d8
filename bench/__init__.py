"""`inv bench`: this project beside the Dockerfiles that people would otherwise write, on this machine."""
