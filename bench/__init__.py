"""`inv bench`: compare this project's images with those of two common Dockerfiles on this machine."""
