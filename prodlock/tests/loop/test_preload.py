"""Which modules a process imports for its children."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# In a process of its own: what is imported stays imported.
SCRIPT = """
import sys
from pathlib import Path
from prodlock.loop.preload import Preloader
root, library, *names = sys.argv[1:]
sys.path[:0] = [root, library]
preloader = Preloader(Path(root))
print(preloader.preload(names), *(name for name in names if name in sys.modules))
assert preloader.preload(names) == []
"""


@pytest.fixture
def preloaded(tmp_path: Path) -> Callable[..., str]:
    """A function that writes modules of a library and of a tree, preloads some, and returns what was printed."""

    def run(modules: dict[str, str], *names: str) -> str:
        for folder in ("tree", "library"):
            (tmp_path / folder).mkdir()
        for path, source in modules.items():
            (tmp_path / path).write_text(source, encoding="utf-8")
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "tree"), str(tmp_path / "library"), *names]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    return run


def test_modules_of_libraries_are_imported(preloaded: Callable[..., str]) -> None:
    """A module that can't be imported is left out."""
    modules = {"library/good.py": "", "library/bad.py": "1 / 0", "library/last.py": ""}
    assert preloaded(modules, "good", "bad", "absent", "last") == "[] good last"


def test_a_module_that_starts_a_thread_is_unfit(preloaded: Callable[..., str]) -> None:
    """A child would have its locks, but not the thread. What follows is imported all the same."""
    thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()"
    modules = {"library/good.py": "", "library/bad.py": thread, "library/last.py": ""}
    assert preloaded(modules, "good", "bad", "last") == "['bad'] good last"


def test_a_module_that_imports_one_of_the_tree_is_unfit(preloaded: Callable[..., str]) -> None:
    """Children would not see changes of it."""
    modules = {"library/plugin.py": "import service", "tree/service.py": "", "library/last.py": ""}
    assert preloaded(modules, "plugin", "last") == "['plugin'] last"
