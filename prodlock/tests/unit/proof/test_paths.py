"""Paths of an image, read for what they state."""

from __future__ import annotations

import pytest

from prodlock.proof.judges import paths
from prodlock.proof.records import Sources, module_of


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/x/site-packages/Py_Test-9.2.0.dist-info/RECORD", ("py-test", "9.2.0")),
        ("/x/pytest-7-py3.13.egg/x.py", ("pytest", "7")),
        ("/root/.cache/pytest-9.2.0-py3-none-any.whl", ("pytest", "9.2.0")),
        ("/root/pytest-9.2.0.tar.gz!/setup.py", ("pytest", "9.2.0")),
        ("/x/pytest-1!9.2.0.dist-info/RECORD", ("pytest", "1!9.2.0")),
        ("/root/pytest-1!9.2.0-py3-none-any.whl!/x.py", ("pytest", "1!9.2.0")),
        ("/x/a-1!/pytest-9.dist-info/RECORD", ("pytest", "9")),
        ("/x/pytest/__init__.py", None),
        ("/x/-info", None),
    ],
)
def test_a_distribution_is_recognized_by_its_metadata_or_archive(path: str, found: tuple[str, str] | None) -> None:
    """By the normalized name and the version in the path."""
    assert paths.distribution(path) == found


def test_parts_of_paths() -> None:
    """A folder is not below itself, and bytecode is in the folder of its module."""
    assert paths.is_below("/srv/app/x", "/srv/app")
    assert not paths.is_below("/srv/app", "/srv/app")
    assert not paths.is_below("/srv/apples/x", "/srv/app")
    assert paths.name("/srv/app/x.py") == "x.py"
    assert paths.in_site_packages("/a/site-packages/b/c.py") == ["b", "c.py"]
    assert paths.in_site_packages("/a/site-packages/__pycache__/b.pyc") == ["b.pyc"]
    assert module_of("/a/__pycache__/b.cpython-313.pyc") == "/a/b.py"
    assert module_of("/a/b.pyc") == "/a/b.pyc"


@pytest.mark.parametrize(
    ("path", "is_included"),
    [
        ("/srv/app", True),
        ("/srv/app/x/y.txt", True),
        ("/srv/application/x", False),
        ("/srv/tool/__init__.py", True),
        ("/srv/tool/__pycache__/__init__.cpython-313.pyc", True),
        ("/srv/tool/other.py", False),
        ("/srv/tool", False),
    ],
)
def test_sources_include_what_the_stage_copies(path: str, *, is_included: bool) -> None:
    """A folder with all that is in it, a file with its bytecode."""
    sources = Sources({"/srv/app": "app", "/srv/tool/__init__.py": "tool/__init__.py"})
    assert sources.include(path) is is_included
