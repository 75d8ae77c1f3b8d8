"""The files, folders and variables of dev tools, as data: their names and their owners."""

from __future__ import annotations

import re

# The distribution that reads or writes a file or folder of this name. `editor` is not a distribution: no lock can put
# its files into production.
_NAMES = {
    "pytest": (
        "pytest.ini", ".pytest.ini", "pytest.toml", ".pytest.toml", "conftest.py", ".pytest_cache", "__pytest_cache__",
    ),
    "coverage": (".coverage", ".coveragerc", "htmlcov"),
    "mypy": ("mypy.ini", ".mypy.ini", ".mypy_cache", ".dmypy.json"),
    "ruff": ("ruff.toml", ".ruff.toml", ".ruff_cache"),
    "tox": ("tox.ini", ".tox"),
    "nox": ("noxfile.py", ".nox"),
    "hypothesis": (".hypothesis",),
    "ipython": (".ipython",),
    "notebook": (".ipynb_checkpoints", ".jupyter"),
    "pre-commit": (".pre-commit-config.yaml", ".pre-commit-config.yml", ".pre-commit-hooks.yaml"),
    "flake8": (".flake8",),
    "pylint": (".pylintrc", "pylintrc", ".pylint.d"),
    "isort": (".isort.cfg",),
    "bandit": (".bandit",),
    "pyright": ("pyrightconfig.json",),
    "pytype": (".pytype",),
    "pyre-check": (".pyre", ".pyre_configuration"),
    "pytest-benchmark": (".benchmarks",),
    "pytest-testmon": (".testmondata",),
    "interrogate": (".interrogate_badge",),
    "debugpy": (".pdbrc", ".pdbrc.py"),
    "editor": (".editorconfig", ".idea", ".vscode", ".vscode-server", ".devcontainer"),
}  # fmt: skip
FILES = {name: owner for owner, names in _NAMES.items() for name in names}
# The same for names with a changing part.
PATTERNS = (
    (re.compile(r"\.coverage\..+"), "coverage"),
    # How pytest names the bytecode of a test module.
    (re.compile(r".+-pytest-\d[\w.]*\.pyc"), "pytest"),
)
# How these begin: few names do.
CHANGING = (".coverage.", "conftest.", "test_")
# Names that a tool makes of the name of its command: of each command of the dev group.
OF_COMMAND = (".{}_cache", ".{}rc", "{}.ini", ".{}.ini")

# Files that many tools share: their sections have owners.
SHARED = ("pyproject.toml", "setup.cfg")
SECTION = re.compile(
    rb"^[ \t]*\[(?:tool[.:])?[\"']?"
    rb"(pytest|coverage|mypy|ruff|tox|nox|hypothesis|flake8|pylint|isort|black|bandit|pyright)[\"']?[\].:_]",
    re.MULTILINE,
)

# Variables that these tools read. COVERAGE and BLACK are used in other fields as well.
VARIABLES = re.compile(
    r"(?P<owner>PYTEST|MYPY|RUFF|TOX|NOX|HYPOTHESIS|IPYTHON|PRE_COMMIT|FLAKE8|PYLINT|PYRIGHT|DEBUGPY)(?:_\w*)?"
    r"|(?P<coverage>COVERAGE_(?:CORE|DEBUG\w*|FILE|PROCESS_\w+|RCFILE|RUN)|COV_CORE_\w+)"
    r"|(?P<black>BLACK_(?:CACHE_DIR|NUM_WORKERS))"
    r"|(?P<mypy>MYPYPATH)|(?P<tox>TOXENV)|(?P<nox>NOXSESSION)|(?P<pylint>PYLINTHOME|PYLINTRC)|(?P<ipython>IPYTHONDIR)"
)
# Variables that name a module which the interpreter imports (https://docs.python.org/3/using/cmdline.html).
NAMING = {"PYTHONBREAKPOINT"}
