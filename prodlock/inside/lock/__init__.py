"""Read a lock, in a build step and on the host: poetry.lock, uv.lock, pylock.toml and requirements with hashes.

`python -m prodlock.inside.lock` writes the lists for the installer. `selection` has what the formats share; each format
has a module, which needs `selection` alone.
"""
