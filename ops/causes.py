# ruff: noqa: E501 - a table
"""Judge what usually brings a finding about, so that a report says what to do."""

from __future__ import annotations

import re

# By path and reason; the first match is told.
_CAUSES = (
    (r"^poetry\.lock$", r"", "`poetry add` without `--group dev`"),
    (r"^bill of materials$", r"", "the file is of another build: `inv sbom` writes this one's"),
    (r"^pyproject\.toml$", r"", "a dependency that has grown or was added: accept it there, or do without"),
    (r"^docker-compose\.yml$", r"", "an entry for development that belongs into a file of its own"),
    (r"^(configuration|history)$", r"secret|build argument|keeps it", "a password handed in as ENV or ARG: use a build secret"),
    (r"^(configuration|history)$", r"", "the image is of another Dockerfile or commit, or was built on top of production"),
    (r"", r"only the dev group|a file of it|imported as|a script", "something of dev was copied, or a step installs beside the lock"),
    (r"^/srv/app(/|$)", r"byte for byte", "app/ has changes that are not committed, or the image is older than the commit"),
    (r"^/srv/app(/|$)", r"neither", "a file in app/ that git does not have: commit it, or remove it"),
    (r"^/srv(/|$)", r"neither|belongs in", "`COPY . .`: copy app/ by name"),
    (r"", r"must be there", "the image is older than the commit, the lock or the base image: `inv build`"),
    (r"", r"what was tested", "one of the two images is older than the other: `inv build`"),
    (r"/__pycache__/|\.pyc$", r"", "a step ran Python in the image, or compiled in another way"),
    (r"/site-packages/", r"neither|does not have|as well", "a step installs beside the lock, or changes what was installed"),
    (r"/site-packages/", r"byte for byte", "a step edits what was installed: lock a wheel of your own instead"),
    (r"^/root/|^/home/|/\.cache/", r"", "a tool's cache: use a cache mount, in a stage that production does not descend from"),
    (r"", r"permissions|executable|owned", "COPY keeps what the file had: `--chmod` and `--chown` set it"),
    (r"", r"deletes", "remove it in the step that makes it, or copy by name what is needed"),
    (r"", r"byte for byte", "the image is older than the lock or the base image, or a step edits the file"),
    (r"", r"", "a COPY or RUN too many in the production stage: copy by name what is needed"),
)  # fmt: skip


def usual(path: str, why: str) -> str:
    """Return what usually brings about a finding at such a path, for such a reason."""
    return next(told for place, reason, told in _CAUSES if re.search(place, path) and re.search(reason, why))
