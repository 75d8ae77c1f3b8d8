"""Judge whether an image was built from the lock and the sources that are here now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prodlock.image.records import File
from prodlock.proof.judges.paths import distribution, is_below
from prodlock.proof.records import HOME, VENV, Sources


def staleness(files: Iterable[File], groups: Iterable[Mapping[str, frozenset[str]]], sources: Sources) -> str:
    """Return how an image differs from the lock's groups and from the sources, or ``."""
    last = _visible(files)
    return changed_lock(last, groups) or changed_source(last.values(), sources)


def changed_lock(files: Iterable[str], groups: Iterable[Mapping[str, frozenset[str]]]) -> str:
    """Return how the distributions of an environment, by its paths, differ from the lock's groups, or ``."""
    installed: dict[str, set[str]] = {}
    for path in files:
        if is_below(path, VENV) and (found := distribution(path)):
            installed.setdefault(found[0], set()).add(found[1])
    for group in groups:
        for name, versions in group.items():
            if name not in installed:
                return f"it lacks {name}, which the lock has"
            if not installed[name] & versions:
                has, wanted = (", ".join(sorted(one)) for one in (installed[name], versions))
                return f"it has {name} {has}, the lock has {wanted}"
    return ""


def changed_source(files: Iterable[File], sources: Sources) -> str:
    """Return which source has changed since an image with these files was built, or ``."""
    built = {
        path: file.sha256
        for path, file in _visible(files).items()
        if file.sha256 and "/__pycache__/" not in path and sources.include(path)
    }
    for path in sorted(sources.files.keys() | built.keys()):
        if built.get(path) != sources.files.get(path):
            # A build does not help where the Dockerfile writes the file.
            how = (
                "has changed since"
                if path in sources.files
                else "is not among the sources any more, or the Dockerfile adds it"
            )
            return f"{path.removeprefix(HOME + '/')} {how}"
    return ""


def _visible(files: Iterable[File]) -> dict[str, File]:
    """Return the entries by path; the last layer that has a path counts."""
    return {file.path: file for file in files if not file.packed}
