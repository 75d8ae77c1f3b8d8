"""The lock of a project, read for the environment of an image."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.inside.lock.poetry import content_hash
from prodlock.origins import locks
from prodlock.origins.environments import is_same
from prodlock.origins.records import Locked, Python
from prodlock.tests.unit.test_lock import LOCK_OF, LOCKS

LINUX = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "",
    "platform_system": "Linux",
    "platform_version": "",
    "sys_platform": "linux",
}
HASH = f"--hash=sha256:{'a' * 64}"
LINE = f"click==8.1.8 {HASH}\n"


def python(version: str = "3.13.5") -> Python:
    """Return the interpreter of an image."""
    variables = {"python_full_version": version, "implementation_version": version}
    short = {"python_version": version.rpartition(".")[0]}
    return Python(version, "/usr/local/lib/python3", LINUX | variables | short)


def project(tmp_path: Path, files: Mapping[str, str]) -> Path:
    """Return a folder with these files."""
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path


def read(root: Path, groups: Sequence[str] = (), extras: Sequence[str] = (), version: str = "3.13.5") -> Locked:
    """Return what the lock of a project has."""
    return locks.read(root, [locks.find(root)], groups, extras, python(version))


def refused(root: Path, groups: Sequence[str] = (), extras: Sequence[str] = ()) -> str:
    """Return the message of the refusal."""
    with pytest.raises(Failure, match="To fix it: ") as failed:
        read(root, groups, extras)
    assert failed.value.code == CANNOT_CHECK
    return str(failed.value)


@pytest.mark.parametrize("kind", LOCK_OF)
def test_a_lock_is_found_and_read(kind: str) -> None:
    """In each format; the lock of development is not a second one."""
    found = read(LOCKS / kind)
    assert found.file == str(LOCKS / kind / LOCK_OF[kind])
    assert found.inputs == ("fresh" if kind in {"poetry", "uv"} else "consistent")
    assert "annotated-types" in found.main
    assert {"pytest", "codespell"} <= found.dev.keys()
    assert not found.main.keys() & found.dev.keys()


@pytest.mark.parametrize("kind", LOCK_OF)
def test_the_environment_is_that_of_the_image(kind: str) -> None:
    """Versions and requirements follow the image's Python, whatever runs this test."""
    newer, older = read(LOCKS / kind), read(LOCKS / kind, version="3.11.4")
    assert newer.main["annotated-types"].version != older.main["annotated-types"].version
    assert "exceptiongroup" in older.main
    assert "exceptiongroup" not in newer.main


@pytest.mark.parametrize("kind", ["poetry", "uv"])
def test_groups_and_extras_are_chosen(kind: str) -> None:
    """All other groups are those for development, main included."""
    jobs = read(LOCKS / kind, ["main", "jobs"])
    assert "typing-extensions" in jobs.main
    assert "typing-extensions" not in read(LOCKS / kind).main
    alone = read(LOCKS / kind, ["jobs"])
    assert "annotated-types" in alone.dev
    assert "httpx" in read(LOCKS / kind, extras=["Client"]).main
    assert "httpx" not in read(LOCKS / kind).main


def test_the_groups_of_production_are_those_of_the_configuration(tmp_path: Path) -> None:
    """Those of the command line count instead."""
    root = Path(shutil.copytree(LOCKS / "uv", tmp_path / "uv"))
    with (root / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write('\n[tool.prodlock]\ngroups = ["main", "jobs"]\nextras = ["client"]\n')
    assert {"typing-extensions", "httpx"} <= read(root).main.keys()
    assert "typing-extensions" not in read(root, ["dev"]).main


def test_a_member_of_a_workspace_has_the_lock_above_it(tmp_path: Path) -> None:
    """It is found within the repository, and only what the member needs counts."""
    root = Path(shutil.copytree(LOCKS / "uv", tmp_path / "uv"))
    (root / ".git").mkdir()
    found = read(root / "backend")
    assert found.file == str(root / "uv.lock")
    assert found.main.keys() < read(root, extras=["all", "client"]).main.keys()
    assert "orders-lib" not in found.main
    (root / ".git").rename(root / "backend/.git")
    assert "(got none)" in refused(root / "backend")


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (("poetry.lock",), "poetry.lock"),
        (("uv.lock", "requirements-dev.txt"), "uv.lock"),
        (("pylock.toml", "pylock.dev.toml"), "pylock.toml"),
        (("requirements.txt", "requirements-dev.txt", "dev.txt"), "requirements.txt"),
        (("requirements/prod.txt", "requirements/dev.txt", "requirements/test.txt"), "requirements/prod.txt"),
        (("requirements-prod.txt",), "requirements-prod.txt"),
    ],
)
def test_the_only_lock_is_found(tmp_path: Path, files: Sequence[str], found: str) -> None:
    """Locks of development beside it are none of production."""
    assert locks.find(project(tmp_path, dict.fromkeys(files, LINE))) == tmp_path / found


def test_the_lock_of_the_configuration_is_found(tmp_path: Path) -> None:
    """Where a project has several."""
    table = '[tool.prodlock]\nlock = "requirements/prod.txt"\n'
    root = project(tmp_path, {"pyproject.toml": table, "poetry.lock": "", "requirements/prod.txt": LINE})
    assert locks.find(root) == root / "requirements/prod.txt"


@pytest.mark.parametrize(
    ("files", "got"),
    [
        ({}, "got none"),
        ({"requirements.txt": "click==8.1.8\n", "requirements-dev.txt": LINE}, "got requirements.txt, without hashes"),
        ({"requirements-dev.txt": LINE}, "got none"),
        ({"poetry.lock": "", "uv.lock": ""}, "got poetry.lock, uv.lock"),
        ({"requirements.txt": LINE, "uv.lock": ""}, "got uv.lock, requirements.txt"),
    ],
)
def test_none_or_several_locks_are_refused(tmp_path: Path, files: Mapping[str, str], got: str) -> None:
    """The user names one."""
    message = refused(project(tmp_path, files))
    assert got in message
    assert "--lock FILE" in message


@pytest.mark.parametrize(
    ("kind", "edit", "message"),
    [
        ("poetry", ("jobs = [", 'more = ["idna"]\njobs = ['), "poetry.lock must match pyproject.toml"),
        ("uv", ("codespell", "idna"), "uv.lock must match pyproject.toml (got one generated before the group"),
        ("pylock", ("annotated-types>=0.7", "annotated-types>=99"), "annotated-types>=99 ;"),
        ("requirements", ("annotated-types>=0.7", "annotated-types>=99"), "annotated-types>=99 ;"),
    ],
)
def test_a_lock_that_does_not_match_is_refused(tmp_path: Path, kind: str, edit: tuple[str, str], message: str) -> None:
    """What is in the image can't be judged by it. The remedy is a command of the lock's own tool."""
    root = Path(shutil.copytree(LOCKS / kind, tmp_path / kind))
    file = root / "pyproject.toml"
    text = file.read_text(encoding="utf-8")
    assert edit[0] in text
    file.write_text(text.replace(*edit), encoding="utf-8")
    found = refused(root)
    assert message in found
    assert "inv " not in found
    if kind in {"poetry", "uv"}:
        assert f"`{kind} lock`" in found


def test_a_lock_of_an_old_poetry_is_refused_with_the_version_that_is_needed(tmp_path: Path) -> None:
    """The `poetry lock` of an older version writes the same again."""
    root = Path(shutil.copytree(LOCKS / "poetry", tmp_path / "poetry"))
    lock = root / "poetry.lock"
    lines = lock.read_text(encoding="utf-8").splitlines(keepends=True)
    lock.write_text("".join(line for line in lines if not line.startswith("groups = ")), encoding="utf-8")
    assert "(got: it names no groups, which Poetry 2 writes). To fix it: run `poetry lock`." in refused(root)


def test_a_lock_without_its_project_is_refused(tmp_path: Path) -> None:
    """It could not be compared."""
    shutil.copy(LOCKS / "poetry/poetry.lock", tmp_path)
    with pytest.raises(Failure, match=r"must have the pyproject\.toml that it was made from beside it"):
        locks.check([tmp_path / "poetry.lock"])


@pytest.mark.parametrize("kind", LOCK_OF)
def test_groups_and_extras_that_do_not_exist_are_refused(kind: str) -> None:
    """With those that do."""
    message = refused(LOCKS / kind, ["main", "nightly"])
    assert message.startswith(f"--group must be one that {LOCK_OF[kind]} has (got nightly; it has ")
    assert "dev" in message
    assert refused(LOCKS / kind, extras=["nightly"]).startswith("--extra must be one that ")


def test_a_list_without_groups_has_no_group(tmp_path: Path) -> None:
    """Without pyproject.toml nothing shows what it was made from."""
    root = project(tmp_path, {"requirements.txt": LINE})
    assert [*read(root).main] == ["click"]
    assert "it has main)" in refused(root, ["dev"])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("poetry.lock", "[[package]]\n", "got: "),
        ("uv.lock", "version = 9\n", "its version must be 1 (got 9)"),
        ("uv.lock", "{", "got: "),
        ("pylock.toml", "", "got: "),
        ("pylock.toml", 'lock-version = "2.0"\npackages = []\n', "its lock-version must be 1.0"),
        ("requirements.txt", f"{LINE}idna\n", "each line must be NAME==VERSION with hashes"),
        ("requirements.txt", f"{LINE}-r other.txt\n", "other.txt"),
        ("requirements.txt", f"{LINE}-r https://u:p@example.org/a.txt\n", "must include files (got an address)"),
        ("requirements.txt", f"{LINE}x @ git+https://u:p@example.org/x {HASH}\n", "lock what a package index serves"),
        ("requirements.txt", f"{LINE}click==8.2.0 {HASH}\n", "it has click 8.1.8 and 8.2.0 for one environment"),
        ("requirements.txt", f'{LINE}idna==3.10 ; nonsense == "1" {HASH}\n', "the marker of idna"),
    ],
)
def test_a_file_that_is_not_a_lock_is_refused(tmp_path: Path, name: str, text: str, message: str) -> None:
    """One message, and no traceback."""
    root = project(tmp_path, {name: text, "pyproject.toml": '[project]\nname = "x"\nversion = "1"\n'})
    found = refused(root)
    assert message in found
    assert not re.search(r"\binv |tool\.prodlock", found)


def test_another_name_is_refused(tmp_path: Path) -> None:
    """--lock names the lock."""
    root = project(tmp_path, {"Pipfile.lock": "{}"})
    with pytest.raises(Failure, match=r"must be a poetry\.lock, .* name another with --lock"):
        locks.check([root / "Pipfile.lock"])
    for name in ("requirements.txt", "", "."):
        with pytest.raises(Failure, match=r"^The lock must be a file that exists \(got .+\)\. To fix it") as raised:
            locks.check([root / name])
        assert raised.value.code == CANNOT_CHECK


def test_a_list_of_development_without_hashes_is_left_out(tmp_path: Path) -> None:
    """It is not the lock: production can be judged without it. One with hashes counts."""
    root = project(tmp_path, {"requirements.txt": LINE, "requirements-dev.txt": "-r requirements.txt\npytest\n"})
    assert (*read(root).main, *read(root).dev) == ("click",)
    (root / "requirements-dev.txt").write_text(f"-r requirements.txt\npytest==9.0 {HASH}\n", encoding="utf-8")
    assert [*read(root).dev] == ["pytest"]


def test_lists_and_those_that_they_include_are_one_lock(tmp_path: Path) -> None:
    """In other folders, and in a cycle. Lists that another one includes are not found as further locks."""
    root = project(
        tmp_path,
        {
            "requirements.txt": f"-r requirements/base.txt  # a comment\n-c limits.txt\nidna==3.10 {HASH}\n",
            "requirements/base.txt": f"--requirement more.in\n{LINE}",
            "requirements/more.in": f"-r../requirements.txt\nh11==0.16 {HASH}\n",
            "deploy.txt": f"gunicorn==23.0 {HASH}\n",
        },
    )
    assert locks.find(root) == root / "requirements.txt"
    assert [*read(root).main] == ["click", "h11", "idna"]
    both = [root / "requirements.txt", root / "deploy.txt"]
    found = locks.read(root, both, (), (), python())
    assert [*found.main] == ["click", "gunicorn", "h11", "idna"]
    assert found.file == f"{both[0]}, {both[1]}"
    (root / "deploy.txt").write_text(f"idna==3.11 {HASH}\n", encoding="utf-8")
    with pytest.raises(Failure, match=r"it has idna 3\.10 and 3\.11 for one environment"):
        locks.read(root, both, (), (), python())


@pytest.mark.parametrize(
    "line",
    [
        "--no-index",
        "--find-links ./wheels",
        "-f https://example.org/wheels.html",
        "--no-binary :none:",
        "--only-binary=:all:",
        "--use-feature=fast-deps",
        "--index-url https://example.org/simple",
    ],
)
def test_options_that_name_sources_change_no_list(tmp_path: Path, line: str) -> None:
    """As pip-compile writes them at the top: the hashes decide."""
    assert [*read(project(tmp_path, {"requirements.txt": f"{line}\n{LINE}"})).main] == ["click"]


def test_a_folder_in_a_list_is_a_dependency_by_its_name(tmp_path: Path) -> None:
    """As `uv export` lists a path dependency: pyproject.toml requires it."""
    described = '[project]\nname = "shop"\ndependencies = ["click", "shared"]\n'
    listed = {"requirements.txt": f"./shared\n{LINE}", "shared/pyproject.toml": '[project]\nname = "shared"\n'}
    found = read(project(tmp_path, {"pyproject.toml": described, **listed}))
    assert [*found.main] == ["click"]
    assert found.local == {"shared"}
    assert found.inputs == "consistent"


@pytest.mark.parametrize(
    "line",
    [
        "-e .",
        ".",
        ".[server]",
        "-e ./packages/shop ; python_version >= '3.12'",
        "./packages/shop",
        "--editable=packages/shop",
        "-e file:.  # the project",
        "file:///code/shop",
    ],
)
def test_the_project_itself_in_a_list_is_none_of_its_requirements(tmp_path: Path, line: str) -> None:
    """As `uv export` lists it: its files are compared with the repository's."""
    assert [*read(project(tmp_path, {"requirements.txt": f"{line}\n{LINE}"})).main] == ["click"]


@pytest.mark.parametrize(
    "line", ["-e git+https://example.org/x", "./x-1.0-py3-none-any.whl", "../x-1.0.tar.gz", "https://example.org/x.zip"]
)
def test_a_distribution_that_no_index_serves_is_refused_in_a_list(tmp_path: Path, line: str) -> None:
    """An archive is not the project itself, and neither is another repository."""
    assert "each line must be NAME==VERSION" in refused(project(tmp_path, {"requirements.txt": f"{line}\n{LINE}"}))


def test_a_list_that_only_includes_others_is_found(tmp_path: Path) -> None:
    """The hashes are in those."""
    root = project(tmp_path, {"requirements.txt": "-r requirements/base.txt\n", "requirements/base.txt": LINE})
    assert locks.find(root) == root / "requirements.txt"
    assert [*read(root).main] == ["click"]


def test_several_locks_of_other_formats_are_refused(tmp_path: Path) -> None:
    """Two of them are not one lock."""
    root = project(tmp_path, {"requirements.txt": LINE, "uv.lock": ""})
    with pytest.raises(Failure, match=r"--lock must be given once, or name lists of requirements"):
        locks.check([root / "requirements.txt", root / "uv.lock"])


def test_groups_that_exclude_each_other_are_all_for_development(tmp_path: Path) -> None:
    """And a group from elsewhere than an index does not hide the others."""
    lock = """\
lock-version = "1.0"
created-by = "x"
dependency-groups = ["new", "old", "own"]
"""
    for version, group in (("8.1.8", ""), ("8.2.0", "new"), ("8.2.1", "old")):
        lock += f'[[packages]]\nname = "{"click" if not group else "idna"}"\nversion = "{version}"\n'
        lock += f"marker = \"'{group}' in dependency_groups\"\n" if group else ""
        lock += 'wheels = [{name = "x-1-py3-none-any.whl", url = "https://i.example/x-1-py3-none-any.whl", '
        lock += f'hashes = {{sha256 = "{"a" * 64}"}}}}]\n'
    found = read(project(tmp_path, {"pylock.toml": lock}))
    assert [*found.main] == ["click"]
    assert [*found.dev] == ["idna"]


def test_a_broken_configuration_is_refused(tmp_path: Path) -> None:
    """Its groups decide what production is."""
    root = project(tmp_path, {"requirements.txt": LINE, "pyproject.toml": "[tool.prodlock]\ngroups = 1\n"})
    assert "`groups` must be a list" in refused(root)
    (root / "pyproject.toml").write_text("[", encoding="utf-8")
    assert "pyproject.toml must be a TOML file" in refused(root)


@pytest.mark.parametrize(
    ("version", "other", "same"),
    [
        ("2024.2.2", "2024.02.02", True),
        ("1.0", "1.0.0", True),
        ("1.0rc1", "1.0-rc.1", True),
        ("1.0", "1.0+cpu", False),
        ("1.0", "1.1", False),
        ("of a vendor", "of a vendor", True),
        ("of a vendor", "1.0", False),
    ],
)
def test_versions_are_compared_as_versions(version: str, other: str, same: bool) -> None:  # noqa: FBT001
    """A lock has the normalized form, metadata what the project wrote."""
    assert is_same(version, other) is same


WHEEL = "lib-1.0-py3-none-any.whl"
ADDRESS = f"https://example.org/{WHEEL}"
DIGEST = "a" * 64
# A distribution by its address, one by a path, one of git, and a folder beside the lock.
FOREIGN = {
    "poetry.lock": f"""\
[[package]]
name = "lib"
version = "1.0"
groups = ["main"]
files = [{{file = "{WHEEL}", hash = "sha256:{DIGEST}"}}]
source = {{type = "url", url = "{ADDRESS}"}}
[[package]]
name = "near"
version = "2.0"
groups = ["main"]
files = [{{file = "near-2.0-py3-none-any.whl", hash = "sha256:{DIGEST}"}}]
source = {{type = "file", url = "wheels/near-2.0-py3-none-any.whl"}}
[[package]]
name = "other"
version = "3.0"
groups = ["main"]
files = []
source = {{type = "git", url = "https://example.org/other", resolved_reference = "1"}}
[[package]]
name = "shared"
version = "4.0"
groups = ["main"]
files = []
source = {{type = "directory", url = "../shared"}}
[metadata]
content-hash = "CONTENT"
""",
    "uv.lock": f"""\
version = 1
requires-python = ">=3.12"
[[package]]
name = "x"
version = "1"
source = {{ virtual = "." }}
dependencies = [{{ name = "lib" }}, {{ name = "near" }}, {{ name = "other" }}, {{ name = "shared" }}]
[package.metadata]
requires-dist = [
    {{ name = "lib", url = "{ADDRESS}" }},
    {{ name = "near", path = "wheels/near-2.0-py3-none-any.whl" }},
    {{ name = "other", git = "https://example.org/other" }},
    {{ name = "shared", editable = "../shared" }},
]
[[package]]
name = "lib"
version = "1.0"
source = {{ url = "{ADDRESS}" }}
wheels = [{{ url = "{ADDRESS}", hash = "sha256:{DIGEST}" }}]
[[package]]
name = "near"
version = "2.0"
source = {{ path = "wheels/near-2.0-py3-none-any.whl" }}
wheels = [{{ filename = "near-2.0-py3-none-any.whl", hash = "sha256:{DIGEST}" }}]
[[package]]
name = "other"
version = "3.0"
source = {{ git = "https://example.org/other#1" }}
[[package]]
name = "shared"
version = "4.0"
source = {{ editable = "../shared" }}
""",
    "pylock.toml": f"""\
lock-version = "1.0"
created-by = "x"
[[packages]]
name = "lib"
version = "1.0"
archive = {{ url = "{ADDRESS}", hashes = {{ sha256 = "{DIGEST}" }} }}
[[packages]]
name = "near"
version = "2.0"
archive = {{ path = "wheels/near-2.0-py3-none-any.whl", hashes = {{ sha256 = "{DIGEST}" }} }}
[[packages]]
name = "other"
version = "3.0"
vcs = {{ type = "git", url = "https://example.org/other", commit-id = "1" }}
[[packages]]
name = "shared"
directory = {{ path = "../shared", editable = true }}
""",
    "requirements.txt": f"""\
lib @ {ADDRESS} \\
    --hash=sha256:{DIGEST}
./wheels/near-2.0-py3-none-any.whl --hash=sha256:{DIGEST}
shared @ file:///code/shared
""",
}


@pytest.mark.parametrize("name", FOREIGN)
def test_what_no_index_serves_is_read(tmp_path: Path, name: str) -> None:
    """A file has its address or path, git has no file, and a folder is the project's own code."""
    sources = f"""\
lib = {{ url = "{ADDRESS}" }}
near = {{ path = "wheels/near-2.0-py3-none-any.whl" }}
other = {{ git = "https://example.org/other" }}
shared = {{ path = "../shared", editable = true }}
"""
    described = '[project]\nname = "x"\nversion = "1"\nrequires-python = ">=3.12"\n'
    described += f'dependencies = ["lib", "near", "other", "shared"]\n[tool.uv.sources]\n{sources}'
    if name == "requirements.txt":
        described = ""
    content = content_hash(tomllib.loads(described))
    root = project(tmp_path, {name: FOREIGN[name].replace("CONTENT", content), "pyproject.toml": described})
    found = read(root)
    assert (found.main["lib"].version, found.main["lib"].link) == ("1.0", ADDRESS)
    assert found.main["lib"].files == ((WHEEL, f"sha256:{DIGEST}"),)
    assert Path(found.main["near"].link).resolve() == root / "wheels" / "near-2.0-py3-none-any.whl"
    assert found.local == {"shared"}
    assert {*found.main} == {"lib", "near", "other"} - ({"other"} if name == "requirements.txt" else set())
    assert name == "requirements.txt" or found.main["other"].files == ()
