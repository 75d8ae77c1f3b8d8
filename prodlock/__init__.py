"""Build, run and prove a service whose production image contains what its lock file lists and nothing else."""

__version__ = "0.2.0"
