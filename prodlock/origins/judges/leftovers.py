"""Recognize files that are not needed to run: caches, repository data, secrets, tests."""

from __future__ import annotations

import posixpath
import re

from prodlock.image.records import File
from prodlock.origins.attribution import ARCHIVE, CACHED
from prodlock.origins.judges.case import Verdict
from prodlock.origins.records import Kind, Origin
from prodlock.proof import rules
from prodlock.proof.judges import credentials

_CACHE = re.compile(
    r"(?P<top>/tmp|/var/tmp|/var/cache/(?!debconf|fontconfig|ldconfig)[^/]+|/var/lib/apt/lists"
    # In folders of their caches, Poetry has its environments, and other programs have models and browsers.
    r"|(?:/[^/]+)*?/\.cache(?!/(?:pypoetry/virtualenvs|huggingface/hub|torch/hub|ms-playwright)/)(?:/[^/]+)?"
    r"|(?:/[^/]+)*?/(?:\.mypy_cache|\.pytest_cache|\.ruff_cache|\.hypothesis|\.tox|\.nox)"
    # The cache of uv, in any folder.
    r"|(?:/[^/]+)*?(?=/(?:archive|sdists|simple|wheels)-v\d+/))(?:/|$)"
)
# A part of each path that _CACHE matches: most paths have none, and searching for them is faster.
_CACHE_PARTS = ("/.", "-v", "/tmp", "/var/")  # noqa: S108 - parts of paths in an image
_PROJECT_DATA = re.compile(
    r".*/(?:\.git|\.hg|\.svn|\.github|\.idea|\.vscode)(?:/.*|$)"
    r"|.*/\.envrc|.*/\.(?:(?:ba|z)?sh|mysql|psql|python|sqlite)_history"
    r"|.*/\.env(?:\.(?!example$|sample$|template$|dist$)[^/]*)?"
    r"|.*/(?:\.netrc|_netrc|\.pypirc|\.pgpass|\.npmrc|\.htpasswd|id_(?:rsa|dsa|ecdsa|ed25519)|credentials(?:\.json)?"
    r"|secrets?\.(?:json|toml|ya?ml|env))|.*\.(?:p12|pfx|jks)"
)
_TESTS = re.compile(r"(?:.*/)?(?:tests?/.*|conftest\.py|test_[^/]+\.py|[^/]+_test\.py)")
_TESTS_FOLDER = re.compile(r"(?P<top>(?:.*?/)?tests?)/.*")

# Which kinds of files are the project's.
_OWN = {Kind.REPOSITORY, Kind.UNEXPLAINED}


def cache(path: str) -> str:
    """Return the folder of the cache that a path is in, or an empty string."""
    if not any(part in path for part in _CACHE_PARTS):
        return ""
    match = _CACHE.match(path)
    return match["top"] if match else ""


def judge(file: File, origin: Origin) -> Verdict | None:
    """Return the rule that a file breaks which is not needed to run."""
    path = file.path
    if origin.kind is not Kind.INSTALLER and (top := cache(path)):
        if path == top and "/.cache/" in path:
            # A file of no program's own folder.
            top = posixpath.dirname(path)
        return rules.LEFT_CACHE, "cache", top, "left by an installer or a build"
    if origin.kind is Kind.WHEEL and origin.what.endswith((ARCHIVE, CACHED)):
        return rules.LEFT_CACHE, "locked wheels", posixpath.dirname(path), "left by an installer"
    if origin.kind in _OWN and (_PROJECT_DATA.fullmatch(path) or credentials.FILES.search(path)):
        top = re.sub(r"(/\.(?:git|hg|svn|github|idea|vscode))/.*", r"\1", path)
        return rules.PROJECT_DATA, "repository data or secret", top, "not needed to run"
    if origin.kind is Kind.REPOSITORY and _TESTS.fullmatch(origin.what):
        place, folder = _tests(path, origin.what)
        return rules.PROJECT_DATA, "tests", place, f"the repository's {folder}"
    return None


def _tests(path: str, source: str) -> tuple[str, str]:
    """Return the folder of tests that a file is in, and the repository's: the first of this name, if both have it."""
    match = _TESTS_FOLDER.fullmatch(source)
    rest = source.removeprefix(match["top"]) if match else ""
    if match and path.endswith(f"/{posixpath.basename(match['top'])}{rest}"):
        return path.removesuffix(rest), match["top"]
    return posixpath.dirname(path), posixpath.dirname(source)
