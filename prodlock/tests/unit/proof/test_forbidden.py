"""What production may not contain, derived from the dev image and the lock."""

from __future__ import annotations

from prodlock.inside.lock import poetry, selection
from prodlock.proof.judges import leaks
from prodlock.proof.judges.forbidden import derive
from prodlock.proof.records import Lock
from prodlock.tests.unit.proof.examples import DEV, MAIN, RULES, SOURCES


def test_forbidden_is_all_that_only_dev_has() -> None:
    """By distribution, import name and script; what main owns is not in it."""
    assert RULES.distributions == {"pytest", "packaging"}
    assert RULES.packages == {"pytest": "pytest", "_pytest": "pytest", "packaging": "packaging"}
    assert RULES.modules == {"py": "pytest"}
    assert RULES.scripts == {"pytest": "pytest", "py.test": "pytest"}


def test_files_of_main_are_allowed_by_path_and_content() -> None:
    """At its path, with its content; nothing of dev is."""
    module = MAIN[0]
    assert RULES.allows(module.path, module.sha256)
    assert not RULES.allows(module.path, "other")
    assert not any(RULES.allows(entry.path, entry.sha256) for entry in DEV if "pytest" in entry.path.split("/")[-2])


def test_only_relevant_files_are_kept() -> None:
    """What names nothing of dev's and has no mark of a secret."""
    assert not RULES.is_relevant("/etc/services", b"http 80/tcp\n")
    assert not RULES.may_import(b"import json\n")
    assert RULES.is_relevant("/srv/app/a.py", b"import json\n")
    assert RULES.is_relevant("/etc/x", b"-----BEGIN PRIVATE KEY-----")


def test_the_groups_of_a_selection_are_read() -> None:
    """Names are normalized; a group of which nothing was selected is empty."""
    shared = {"name": "Any_IO", "version": "1", "sha256": ["12"]}
    groups = {"main": [shared], "dev": [shared, {"name": "pytest", "version": "9", "sha256": []}]}
    assert Lock.from_selection({"groups": groups, "inputs": "consistent", "lock": "34"}) == Lock(
        {"any-io": frozenset({"1"})}, {"any-io": frozenset({"1"}), "pytest": frozenset({"9"})}, "consistent", "34"
    )
    assert Lock.from_selection({"groups": {"main": [shared]}, "lock": "34"}).dev == {}


def test_distributions_of_main_by_an_extra_alone_are_forbidden() -> None:
    """The lock names pytest in both groups; main would need it for an extra that no image is built with."""
    locked = [
        {
            "name": name,
            "version": version,
            "files": [{"file": name, "hash": "sha256:00"}],
            "groups": ["main", "dev"],
            "markers": {"main": marker},
        }
        for name, version, marker in (
            ("pytest", "9.2.0", 'extra == "test"'),
            ("packaging", "26.3", 'sys_platform == "win32"'),
            ("anyio", "4.16.0", ""),
        )
    ]
    groups = {
        group: [
            selection.record(one)
            for one in selection.chosen(
                poetry.requirements({"package": locked}, [group]), environment={"sys_platform": "linux"}
            )
        ]
        for group in ("main", "dev")
    }
    lock = Lock.from_selection({"groups": groups, "lock": "34"})
    assert leaks.denied(lock, ["pytest"], "poetry.lock") == []
    assert derive(DEV, lock, SOURCES).distributions >= {"pytest", "packaging"}
    assert "anyio" not in derive(DEV, lock, SOURCES).distributions
