"""Discovery of the lock, its groups and extras, and the version of Python."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from prodlock.failure import Failure
from prodlock.scaffold import pythons
from prodlock.scaffold.find import find
from prodlock.tests.unit.existing import APP, HASHED, VERSIONS, find_in, hashed, poetry_lock, uv_lock

PYLOCK = 'lock-version = "1.0"\n' + "".join(
    f'[[packages]]\nname = "{name}"\nversion = "{version}"\n' for name, version in VERSIONS.items()
)
POETRY = '[tool.poetry.dependencies]\npython = "^3.12"\n'


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, r"got none\).*poetry lock"),
        ({"requirements.txt": "fastapi\n"}, "requirements.txt, which lacks hashes.*--generate-hashes"),
        ({"requirements.txt": HASHED + "x==1\n"}, "requirements.txt, which lacks hashes"),
        ({"requirements.lock": HASHED}, "requirements.lock, which is not a list .txt.*--output-file requirements.txt"),
        ({"pyproject.toml": '[tool.poetry]\nname = "x"\n'}, "run `poetry lock`"),
        ({"pdm.lock": ""}, "got pdm.lock.*run `pdm export --prod --output requirements.txt`"),
        ({"Pipfile.lock": "{}"}, "got Pipfile.lock.*run `pipenv requirements --hash > requirements.txt`"),
        ({"poetry.lock": poetry_lock().replace('groups = ["main"]', "")}, "no 'groups', Poetry 1 wrote it.*lock again"),
        ({"poetry.lock": "[[package]\n"}, "poetry.lock must be a valid lock.*To fix it"),
        ({"uv.lock": "version = 1\npackage = 1\n"}, "uv.lock can't be installed.*To fix it"),
        ({"uv.lock": uv_lock().replace("version = 1", "version = 9", 1)}, "uv.lock .*got version 9 of its format"),
        ({"poetry.lock": poetry_lock() + '[metadata]\nlock-version = "9.0"\n'}, "poetry.lock .*got version 9.0 of"),
        ({"poetry.lock": ""}, "poetry.lock must be a lock that a build can read .got no packages.*lock again"),
        ({"uv.lock": "\ufeff" + uv_lock()}, "uv.lock .*got a byte order mark"),
        ({"requirements.txt": ""}, "requirements.txt, which has no requirements"),
        (
            {"requirements.txt": HASHED + "x @ git+https://u:p@h/x\n"},
            "lacks hashes: .*got 'x @ git.https://h/x'.*index",
        ),
        ({"requirements.txt": HASHED + "x @ git+https://host/x --hash=sha256:00\n"}, "can't be installed.*To fix it"),
    ],
)
def test_a_lock_that_cannot_be_installed_is_refused(tmp_path: Path, files: dict[str, str], message: str) -> None:
    """One message with the reason and the remedy, whatever is wrong."""
    (tmp_path / "main.py").write_text(APP)
    with pytest.raises(Failure, match=message):
        find_in(tmp_path, {"unlocked": "", **files})


def test_a_member_of_a_workspace_is_moved_in_where_its_lock_is(tmp_path: Path) -> None:
    """The lock is in a folder above it, of the same repository."""
    (tmp_path / "uv.lock").write_text(uv_lock(), encoding="utf-8")
    member = tmp_path / "services/api"
    with pytest.raises(
        Failure, match=rf"got none, and {tmp_path}/uv.lock\). To fix it: run `prodlock init` in {tmp_path},"
    ):
        find_in(member, {"main.py": APP, "unlocked": ""})
    (member / ".git").touch()
    with pytest.raises(Failure, match=r"got none\)"):
        find_in(member, {"main.py": APP, "unlocked": ""})


@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": HASHED, "requirements-dev.txt": "-c requirements.txt\nx @ git+https://host/x\n"},
        {
            "poetry.lock": poetry_lock({"dev": ["x"]}) + '[package.source]\ntype = "git"\n',
            "pyproject.toml": "[tool.poetry.group.dev.dependencies]\n",
        },
    ],
)
def test_a_lock_whose_development_cannot_be_installed_is_refused(tmp_path: Path, files: dict[str, str]) -> None:
    """A git dependency of a group for development stops a build as well; other groups may be named."""
    with pytest.raises(Failure, match=r"can't be installed for the groups dev of the dev image"):
        find_in(tmp_path, {"main.py": APP, **files})


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"uv.lock": uv_lock()}, "The groups of development lack pytest"),
        ({"requirements.txt": HASHED, "requirements-dev.txt": hashed("mypy")}, "The groups of development lack pytest"),
        ({"requirements.txt": hashed("pytest")}, "Production has pytest"),
        ({"poetry.lock": poetry_lock()}, ""),
        ({"requirements.txt": HASHED, "requirements-dev.txt": hashed("pytest")}, ""),
        ({"pylock.toml": PYLOCK, "pylock.dev.toml": PYLOCK + '[[packages]]\nname = "pytest"\n'}, ""),
    ],
    ids=["uv", "list", "production", "poetry", "lists", "pylock"],
)
def test_a_lock_without_pytest_for_development_alone_is_reported(
    tmp_path: Path, files: dict[str, str], expected: str
) -> None:
    """The checks compare production with a dev image that has pytest."""
    notes = [note for note in find_in(tmp_path, {"main.py": APP, **files}).notes if "pytest" in note]
    assert len(notes) == bool(expected)
    assert all(note.startswith(expected) for note in notes)


def test_a_lock_that_git_ignores_is_refused_by_its_name(tmp_path: Path) -> None:
    """No commit has it."""
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)  # noqa: S607
    with pytest.raises(Failure, match=r"got requirements.txt, which git ignores.*\.gitignore"):
        find_in(tmp_path, {"main.py": APP, "requirements.txt": HASHED, ".gitignore": "requirements.txt\n"})


def test_a_list_in_another_encoding_is_refused_by_it(tmp_path: Path) -> None:
    """PowerShell writes UTF-16."""
    find_in(tmp_path, {"main.py": APP})
    (tmp_path / "requirements.txt").write_text(HASHED, encoding="utf-16")
    with pytest.raises(Failure, match=r"requirements.txt, which is not a text in UTF-8\).*save it as UTF-8"):
        find(tmp_path)


def test_a_distribution_without_a_wheel_is_reported(tmp_path: Path) -> None:
    """The lock names its files; a list names none."""
    own = '[[package]]\nname = "x"\nversion = "1"\ngroups = ["main"]\n'
    own += 'files = [{file = "x-1.tar.gz", hash = "sha256:0"}]\n'
    found = find_in(tmp_path, {"main.py": APP, "poetry.lock": poetry_lock() + own})
    assert found.notes[0].startswith("No wheel is locked of x 1, ")


def test_a_list_of_development_may_name_the_one_of_production(tmp_path: Path) -> None:
    """`-r requirements.txt`, or `-c`."""
    files = {"main.py": APP, "requirements.txt": HASHED, "requirements-dev.txt": "-c requirements.txt\n" + hashed("x")}
    assert find_in(tmp_path, files).all["lock"] == "requirements.txt"


def test_a_list_with_hashes_is_found_in_a_folder(tmp_path: Path) -> None:
    """`requirements/prod.txt` is the lock where requirements.txt has no hashes."""
    files = {"main.py": APP, "requirements.txt": "fastapi\n", "requirements/prod.txt": HASHED}
    assert find_in(tmp_path, files).keys["lock"] == "requirements/prod.txt"


def test_the_list_of_production_precedes_the_one_that_it_is_based_on(tmp_path: Path) -> None:
    """`base.txt` has a part of it."""
    files = {"requirements/base.txt": HASHED, "requirements/production.txt": hashed("gunicorn")}
    assert find_in(tmp_path, {"main.py": APP, **files}).keys["lock"] == "requirements/production.txt"


def test_the_names_of_the_list_of_development_are_reported(tmp_path: Path) -> None:
    """A list of another name is not read."""
    files = {"requirements/main.txt": HASHED, "requirements/tests.txt": hashed("pytest")}
    (note,) = find_in(tmp_path, {"main.py": APP, **files}).notes
    assert note.endswith(
        "what development adds to main.txt is read from main-dev.txt or dev-main.txt or dev.txt beside it."
    )


def test_the_first_lock_at_the_root_is_not_written(tmp_path: Path) -> None:
    """It is the default of the key."""
    found = find_in(tmp_path, {"main.py": APP})
    assert found.all["lock"] == "requirements.txt"
    assert "lock" not in found.keys


def test_a_lock_is_written_where_git_ignores_one_before_it(tmp_path: Path) -> None:
    """A build would read the ignored one, which is the default of the key."""
    subprocess.run(["git", "init", "-q", tmp_path], check=True)  # noqa: S607 - the git of the machine
    files = {"main.py": APP, ".gitignore": "poetry.lock\n", "poetry.lock": "", "requirements.txt": HASHED}
    assert find_in(tmp_path, files).keys["lock"] == "requirements.txt"


def test_a_given_lock_is_read(tmp_path: Path) -> None:
    """Its groups and its versions decide, not those of another lock."""
    files = {"main.py": APP, "locks/api.txt": hashed("x"), "poetry.lock": "broken"}
    found = find_in(tmp_path, files, {"lock": "locks/api.txt"})
    assert (found.all["lock"], found.where["lock"], found.all["server"]) == ("locks/api.txt", "--set", "")


@pytest.mark.parametrize(
    ("lock", "message"),
    [
        ("missing.txt", r"must be a file of the project.*got missing.txt"),
        ("Pipfile.lock", r"must be a poetry.lock, uv.lock, pylock.toml or NAME.txt .*\(got \'Pipfile.lock\'\)"),
        ("plain.txt", "plain.txt can't be installed: fastapi==1 must have hashes"),
        ("../x.txt", "`lock` must be a poetry.lock"),
    ],
)
def test_a_given_lock_that_is_not_one_is_refused(tmp_path: Path, lock: str, message: str) -> None:
    """A missing file, another format, a list without hashes, and a path outside of the project."""
    files = {"main.py": APP, "plain.txt": "fastapi==1\n", "Pipfile.lock": "{}", "requirements.txt": HASHED}
    with pytest.raises(Failure, match=message):
        find_in(tmp_path, files, {"lock": lock})


def test_groups_of_poetry_are_sorted_by_their_names(tmp_path: Path) -> None:
    """Groups for development by their usual names; all others that Poetry installs are production's."""
    groups = "".join(f"[tool.poetry.group.{name}.dependencies]\n" for name in ("prod", "lint", "test"))
    optional = "[tool.poetry.group.x]\noptional = true\n"
    files = {"main.py": APP, "poetry.lock": poetry_lock(), "pyproject.toml": groups + POETRY + optional}
    found = find_in(tmp_path, files)
    assert (found.keys["groups"], found.keys["dev-groups"]) == (["main", "prod"], ["lint", "test"])
    assert found.all["base"] == "python:3.13-slim-trixie"
    assert "the groups x. Add those that production needs to `groups`." in found.notes[0]


def test_a_group_that_a_dockerfile_installs_is_productions(tmp_path: Path) -> None:
    """An optional group of Poetry, and a group of uv that it does not install by default."""
    run = "FROM x\nRUN pip install poetry && poetry install --only main --with=gpu,metrics\n"
    groups = "".join(f"[tool.poetry.group.{name}]\noptional = true\n" for name in ("gpu", "metrics", "other"))
    files = {"main.py": APP, "poetry.lock": poetry_lock(), "pyproject.toml": groups, "Dockerfile": run}
    assert find_in(tmp_path, files).keys["groups"] == ["main", "gpu", "metrics"]


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("poetry install", ["main", "jobs", "prod"]),
        ("poetry install --only main --no-root", ["main"]),
        ("poetry install --only=main,prod", ["main", "prod"]),
        ("poetry install --without dev,jobs", ["main", "prod"]),
    ],
)
def test_a_dockerfile_decides_which_default_groups_are_productions(
    tmp_path: Path, run: str, expected: list[str]
) -> None:
    """Those that it leaves out are not; a group for development is one by its normalized name."""
    names = ("prod", "jobs", "Unit.Tests", "type-check", "quality")
    groups = "".join(f'[tool.poetry.group."{name}".dependencies]\n' for name in names)
    files = {
        "main.py": APP,
        "poetry.lock": poetry_lock(),
        "pyproject.toml": groups,
        "Dockerfile": f"FROM x\nRUN {run}\n",
    }
    found = find_in(tmp_path, files)
    assert (found.all["groups"], found.all["dev-groups"]) == (expected, ["Unit.Tests", "quality", "type-check"])


def test_groups_of_uv_are_those_of_the_member_and_its_defaults(tmp_path: Path) -> None:
    """A group for development, a default group, a group of a Dockerfile, and one that nothing installs."""
    text = """
[project]
name = "shop"
[dependency-groups]
test = ["pytest"]
metrics = ["x"]
gpu = ["y"]
other = ["z"]
[tool.uv]
default-groups = ["metrics"]
"""
    run = "FROM x\nRUN --mount=type=cache,target=/c uv sync --frozen --no-dev --group gpu\n"
    found = find_in(tmp_path, {"main.py": APP, "uv.lock": uv_lock(), "pyproject.toml": text, "Dockerfile": run})
    assert (found.keys["groups"], found.keys["dev-groups"]) == (["main", "gpu", "metrics"], ["test"])
    assert "the groups other." in found.notes[0]


@pytest.mark.parametrize(
    ("locked", "expected"), [("pytest", ["test"]), ("pytest mkdocs", ["docs", "test"]), ("", ["dev"])]
)
def test_groups_of_a_list_are_those_that_it_has(tmp_path: Path, locked: str, expected: list[str]) -> None:
    """A list does not record its groups: those count whose requirements it has."""
    groups = '[project]\nname = "x"\n[dependency-groups]\ntest = ["pytest>=8", "tomli; python_version < \'3.11\'"]\n'
    files = {
        "main.py": APP,
        "requirements.txt": HASHED,
        "requirements-dev.txt": hashed(*locked.split()),
        "pyproject.toml": groups + 'docs = ["MkDocs"]\n',
    }
    assert find_in(tmp_path, files).all["dev-groups"] == expected


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("uv sync --frozen --extra postgres", ["postgres"]),
        ("uv sync --extra=postgres", ["postgres"]),
        ("poetry install -E postgres --only main", ["postgres"]),
        ('poetry install --extras "postgres other"', ["other", "postgres"]),
        ("pip install --no-cache-dir '.[postgres]'", ["postgres"]),
        ("pip install /app[postgres,other]", ["other", "postgres"]),
        ("uv sync --all-extras", ["other", "postgres"]),
        ("<<EOF\nset -e\nuv sync --extra postgres\nEOF\nCOPY <<-'END' /x\nRUN uv sync --all-extras\nEND", ["postgres"]),
        ("pip install uvicorn[postgres]", []),
        ("uv sync", []),
    ],
)
def test_extras_are_those_that_a_dockerfile_installs(tmp_path: Path, run: str, expected: list[str]) -> None:
    """The project's own extras; the others are printed."""
    files = {
        "main.py": APP,
        "pyproject.toml": '[project]\nname = "x"\n[project.optional-dependencies]\npostgres = []\nother = []\n',
        "Dockerfile": f"FROM x\nRUN {run}\n",
    }
    found = find_in(tmp_path, files)
    assert found.all["extras"] == expected
    rest = [name for name in ("other", "postgres") if name not in expected]
    assert any(f"the extras {', '.join(rest)}." in note for note in found.notes) == bool(rest)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (
            "apt-get update && apt-get install -y --no-install-recommends \\\n  pandoc libpq5=15.1 \\\n && rm -rf /x",
            "libpq5, pandoc",
        ),
        ("apt -y install git", "git"),
        ("--mount=type=cache,target=/c apt-get -qq install --yes ffmpeg; true", "ffmpeg"),
        ("apt-get install -y build-essential libpq-dev gcc && rm -rf /var/lib/apt/lists/*", ""),
        ("pip install apt-get", ""),
        ("apt-get install -y libpq5 `# libxslt is needed by lxml (PyPI)` \\\n  media-types", "libpq5, media-types"),
        ("apt-get install -y libpq5 $(cat packages.txt) # for psycopg", "libpq5"),
    ],
)
def test_debian_packages_of_dockerfiles_are_reported(tmp_path: Path, run: str, expected: str) -> None:
    """Apart from those that only a build from source needs."""
    notes = find_in(tmp_path, {"main.py": APP, "Dockerfile": f"FROM x\nRUN {run}\nCOPY . .\n"}).notes
    assert [f"the Debian packages {expected} (Dockerfile)." in note for note in notes] == [True] * bool(expected)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        ("pip install x && python -m spacy download en_core_web_sm", "`python -m spacy download en_core_web_sm`"),
        ("playwright install --with-deps chromium", "`playwright install --with-deps chromium`"),
        ("python3 -c \"import nltk; nltk.download('punkt')\"", "`python3 -c"),
        ("<<EOF\npython -m nltk.downloader punkt\nEOF", "`python -m nltk.downloader punkt`"),
        ("python -m venv /venv && python -m pip install --upgrade pip", ""),
    ],
)
def test_data_that_a_dockerfile_downloads_is_reported(tmp_path: Path, run: str, expected: str) -> None:
    """No image of Prodlock runs such a step."""
    notes = find_in(tmp_path, {"main.py": APP, "Dockerfile": f"FROM x\nRUN {run}\nCOPY . .\n"}).notes
    assert [expected in note for note in notes if note.startswith("Not run")] == [True] * bool(expected)


def test_what_a_dockerfile_of_development_installs_is_not_productions(tmp_path: Path) -> None:
    """It may install all extras."""
    files = {
        "main.py": APP,
        "pyproject.toml": '[project]\nname = "x"\n[project.optional-dependencies]\na = []\nb = []\n',
        "Dockerfile": "FROM x\nRUN uv sync --extra a\n",
        "dev.Dockerfile": "FROM x\nRUN uv sync --all-extras\n",
    }
    assert find_in(tmp_path, files).all["extras"] == ["a"]


def test_a_server_of_an_extra_counts_only_where_the_extra_is_installed(tmp_path: Path) -> None:
    """`httptools` of an extra of Poetry that production does not have."""
    text = '[tool.poetry.extras]\nfast = ["uvloop", "httptools"]\n'
    lock = poetry_lock(extras={"httptools": "fast"}).replace(
        'name = "httptools"\nversion = "0.7.1"', 'name = "y"\nversion = "1"'
    )
    files = {"main.py": APP, "poetry.lock": lock, "pyproject.toml": text}
    assert "httptools must be >=0.6.3 (got none)" in " ".join(find_in(tmp_path, files).notes)


def test_the_groups_of_a_pylock_decide_its_server(tmp_path: Path) -> None:
    """What a group for development needs is not production's; another environment does not matter."""
    packages = "".join(
        f'[[packages]]\nname = "{name}"\nversion = "{version}"\nmarker = "{marker}"\n'
        for name, version, marker in (
            ("fastapi", "1", "python_version >= '3.8'"),
            ("uvicorn", "0.40", ""),
            ("httptools", "0.7.1", "'test' in dependency_groups"),
        )
    )
    lock = f'lock-version = "1.0"\nrequires-python = "==3.99.*"\ndependency-groups = ["test", "prod"]\n{packages}'
    text = '[dependency-groups]\ntest = ["httptools"]\nprod = ["x"]\n'
    found = find_in(tmp_path, {"main.py": APP, "pylock.toml": lock, "pyproject.toml": text})
    assert found.keys["dev-groups"] == ["test"]
    assert any("httptools must be" in note for note in found.notes)
    assert any("the groups prod." in note for note in found.notes)


def test_the_default_group_of_a_pylock_is_the_projects_own_requirements(tmp_path: Path) -> None:
    """As PDM names it; a default group that pyproject.toml declares is another one."""
    head = 'dependency-groups = ["default", "test", "prod"]\ndefault-groups = ["default", "prod"]\n'
    text = '[project]\nname = "x"\n[dependency-groups]\ntest = ["x"]\nprod = ["y"]\n'
    found = find_in(tmp_path, {"main.py": APP, "pylock.toml": head + PYLOCK, "pyproject.toml": text})
    assert (found.keys["groups"], found.keys["dev-groups"]) == (["main", "prod"], ["test"])
    assert not any("Not installed" in note for note in found.notes)


def test_the_member_of_a_workspace_is_the_one_of_the_application(tmp_path: Path) -> None:
    """Its name is the package, and what it depends on decides the server."""
    found = find_in(tmp_path, {
        "pyproject.toml": '[tool.uv.workspace]\nmembers = ["backend", "libs/*"]\n',
        "uv.lock": uv_lock("shop-api", "backend"),
        "backend/pyproject.toml": '[project]\nname = "shop-api"\n', "backend/app/main.py": "import app.x\n" + APP,
        "backend/app/x.py": "", "libs/y/pyproject.toml": '[project]\nname = "y"\n',
    })  # fmt: skip
    assert (found.keys["package"], found.all["lock"], found.all["server"]) == ("shop-api", "uv.lock", "")
    # A build reads it in any case.
    assert "backend/pyproject.toml" not in found.texts("tests")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[tool.poetry\n", "pyproject.toml must be a TOML file that can be read"),
        ("x = '\udcff'", "pyproject.toml must be a TOML file that can be read"),
        ("\ufeff[project]\n", "pyproject.toml must be a TOML file that can be read .got: a byte order mark"),
        ("[tool]\npoetry = 1\n", "`tool.poetry` must be a table .got 1."),
        ("tool = []\n", "`tool` must be a table"),
        ("dependency-groups = 'x'\n", "`dependency-groups` must be a table"),
        ("[tool.uv.workspace]\nmembers = 'x'\n", "`tool.uv.workspace.members` must be a list"),
        ("[tool.uv.workspace]\nmembers = ['/x']\n", "must be folders in it .got '/x'."),
        ("[project]\nrequires-python = 3.12\n", "`project.requires-python` must be a text"),
    ],
)
def test_a_pyproject_that_is_not_valid_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """Neither a traceback nor an empty file in its place."""
    (tmp_path / "pyproject.toml").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(Failure, match=message):
        find_in(tmp_path, {"main.py": APP})


def test_a_pyproject_of_an_example_need_not_be_valid(tmp_path: Path) -> None:
    """Only the project's own files are checked."""
    find_in(tmp_path, {"main.py": APP, "examples/x/pyproject.toml": "[broken\n"})


@pytest.mark.parametrize(
    ("constraint", "allowed"),
    [
        (">=3.12,<3.14", [12, 13]),
        ("^3.12", [12, 13, 14]),
        ("~3.12", [12]),
        ("3.12.*", [12]),
        (">=3.10", [11, 12, 13, 14]),
        ("==3.11.4", [11]),
        (">3.12", [13, 14]),
        ("<3.11", []),
        (">=3.11,!=3.12.1", [11, 12, 13, 14]),
        ("<4.0", [11, 12, 13, 14]),
        ("~=3.12", [12, 13, 14]),
        ("~=3.12.1", [12]),
        (">=3.11 <3.13", [11, 12]),
        ("<2 || 3.13", [13]),
        ("<2 | 3.13", [13]),
        ("!=3.12", [11, 13, 14]),
        ("!=3.12.*,>=3.11", [11, 13, 14]),
        ("<3.13.2", [11, 12, 13]),
        ("*", [11, 12, 13, 14]),
    ],
)
def test_a_constraint_allows_versions_of_python(constraint: str, allowed: list[int]) -> None:
    """Constraints of PEP 440 and of Poetry, by the releases that they allow."""
    assert [minor for minor in pythons.MINORS if pythons.allows(constraint, minor)] == allowed


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 13),
        ({".python-version": "3.12.4\n"}, 12),
        ({"runtime.txt": "python-3.11.9\n"}, 11),
        ({".tool-versions": "nodejs 20.3.12\npython 3.12.1 3.11.9\n"}, 12),
        ({"mise.toml": "[tools]\nnode = '3.11'\npython = ['3.12', '3.11']\n"}, 12),
        ({".mise.toml": '[tools]\npython = { version = "3.12" }\n'}, 12),
        ({"Dockerfile": "ARG V=3.11\nFROM python:${V}-slim\n"}, 11),
        ({"Dockerfile": "FROM ghcr.io/astral-sh/uv:python3.14-bookworm-slim\n", ".python-version": "3.12\n"}, 14),
        ({"Dockerfile": "FROM python:3.9\n", "pyproject.toml": '[project]\nrequires-python = ">=3.14"\n'}, 14),
        ({"Dockerfile": "FROM python:3-alpine3.14\n"}, 13),
        ({"Dockerfile": "FROM registry.access.redhat.com/ubi9/python-312:1\n"}, 12),
        ({"Dockerfile": "FROM python:3.14-slim AS docs\n", "api/Dockerfile": "FROM python:3.12\n"}, 14),
        ({"Dockerfile": "FROM debian\n", "pyproject.toml": POETRY.replace("^3.12", "~3.12")}, 12),
    ],
)
def test_the_version_of_python_is_the_one_in_use(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    """That of the Dockerfile, or of .python-version; else the preferred one, or the highest allowed one."""
    assert find_in(tmp_path, {"main.py": APP, **files}).all["base"] == pythons.image(expected)


def test_a_python_without_an_image_is_refused(tmp_path: Path) -> None:
    """The message names the constraint; a given base image is used without one."""
    files = {"main.py": APP, "pyproject.toml": '[project]\nrequires-python = "<3.11"\n'}
    with pytest.raises(Failure, match=r"must allow a version of Python from 3.11 to 3.14 \(got <3.11\)"):
        find_in(tmp_path, files)
    assert find_in(tmp_path, files, {"base": "python:3.15"}).all["base"] == "python:3.15"
