"""Images that were built from another lock or other sources."""

from __future__ import annotations

from dataclasses import replace

from prodlock.proof.judges.staleness import staleness
from prodlock.proof.records import Sources
from prodlock.tests.unit.proof.examples import APP, COPIED, DEV, LOCK, PROD

APP_NOW = {"/srv/app/main.py": APP[1].sha256, "/srv/app/__init__.py": APP[0].sha256}


def test_a_fresh_image_is_not_stale() -> None:
    """With the locked versions and unchanged sources."""
    assert staleness(PROD, (LOCK.main,), Sources(COPIED, APP_NOW)) == ""
    assert staleness(DEV, (LOCK.main, LOCK.dev), Sources(COPIED, APP_NOW)) == ""


def test_a_changed_source_makes_an_image_stale() -> None:
    """A file that was edited, added or removed since."""
    assert (
        staleness(PROD, (LOCK.main,), Sources(COPIED, {**APP_NOW, "/srv/app/main.py": "0"}))
        == "app/main.py has changed since"
    )
    assert (
        staleness(PROD, (LOCK.main,), Sources(COPIED, {**APP_NOW, "/srv/app/new.py": "0"}))
        == "app/new.py has changed since"
    )
    removed = {"/srv/app/__init__.py": APP_NOW["/srv/app/__init__.py"]}
    said = "app/main.py is not among the sources any more, or the Dockerfile adds it"
    assert staleness(PROD, (LOCK.main,), Sources(COPIED, removed)) == said


def test_a_changed_lock_makes_an_image_stale() -> None:
    """Another version, or a distribution that is not there yet."""
    newer = replace(LOCK, main={**LOCK.main, "anyio": frozenset({"5.0"})})
    assert staleness(PROD, (newer.main,), Sources(COPIED, APP_NOW)) == "it has anyio 4.16.0, the lock has 5.0"
    more = replace(LOCK, main={**LOCK.main, "attrs": frozenset({"1"})})
    assert staleness(PROD, (more.main,), Sources(COPIED, APP_NOW)) == "it lacks attrs, which the lock has"
