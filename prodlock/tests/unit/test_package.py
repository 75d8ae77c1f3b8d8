"""The installable package: its files, its command, its public names. Its build backend comes from the index."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import prodlock
from prodlock.scaffold import example
from prodlock.server import requirements

PACKAGE = Path(prodlock.__file__).parent
VERSION = prodlock.__version__
REPOSITORY = PACKAGE.parent
DATA = [
    path
    for name in ("CHANGELOG.md", "app", "poetry.lock", "pyproject.toml", "tests")
    for path in (REPOSITORY / name, *(REPOSITORY / name).rglob("*"))
]


def run(*command: str, cwd: Path | None = None) -> str:
    """Run a program and return its standard output."""
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a virtual environment, which has pip alone."""
    folder = tmp_path_factory.mktemp("package") / "venv"
    venv.create(folder, with_pip=True)
    return folder / ("Scripts" if sys.platform == "win32" else "bin")


def pip(environment: Path, *arguments: str) -> None:
    """Run pip in a virtual environment."""
    run(str(environment / "python"), "-m", "pip", *arguments, "--quiet")


@pytest.fixture(scope="module")
def wheel(environment: Path) -> Path:
    """The package's wheel."""
    pip(environment, "wheel", "--no-deps", f"--wheel-dir={environment}", str(PACKAGE))
    return environment / f"prodlock-{VERSION}-py3-none-any.whl"


def names(wheel: Path) -> set[str]:
    """Return the files of a wheel, without its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.startswith("prodlock-")}


def test_the_wheel_has_every_file_but_the_tests(wheel: Path) -> None:
    """Data files included: the type marker, scripts, Dockerfiles, requirements, templates."""
    found = {name for name in names(wheel) if not name.startswith("prodlock/data/")}
    files = (path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.is_file())
    expected = {path.as_posix() for path in files if path.parts[0] != "tests" and "__pycache__" not in path.parts}
    assert found == {f"prodlock/{name}" for name in expected - {"LICENSE", "hatch_build.py", "pyproject.toml"}}
    assert {"prodlock/py.typed", "prodlock/inside/online.sh", "prodlock/templates/Dockerfile.template"} <= found
    assert not any("tests" in name.split("/") for name in found)


def test_the_wheel_has_the_changelog_and_the_example(wheel: Path) -> None:
    """For `prodlock upgrade` and `prodlock init NAME`."""
    found = {name.removeprefix("prodlock/data/") for name in names(wheel) if name.startswith("prodlock/data/")}
    sources = {path.relative_to(REPOSITORY).as_posix() for path in DATA if path.is_file() and path.suffix != ".pyc"}
    assert found == sources
    assert {"CHANGELOG.md", *example._TAKEN} <= found


def test_a_wheel_of_the_source_distribution_has_the_same_files(environment: Path, wheel: Path, tmp_path: Path) -> None:
    """It holds the changelog and the example too: a build of it can't read files above its folder."""
    pip(environment, "install", "hatchling")
    run(
        str(environment / "python"),
        "-m",
        "hatchling",
        "build",
        "--target=sdist",
        f"--directory={tmp_path}",
        cwd=PACKAGE,
    )
    (source,) = tmp_path.glob("*.tar.gz")
    pip(environment, "wheel", "--no-deps", f"--wheel-dir={tmp_path}", str(source))
    assert names(tmp_path / wheel.name) == names(wheel)


def test_the_installed_command_starts_a_service(environment: Path, wheel: Path, tmp_path: Path) -> None:
    """From the files in the wheel."""
    pip(environment, "install", str(wheel))
    run(str(environment / "prodlock"), "init", "shop", cwd=tmp_path)
    assert 'default="shop"' in (tmp_path / "app/settings.py").read_text(encoding="utf-8")
    assert run(str(environment / "prodlock"), "upgrade", cwd=tmp_path).startswith("All files are those of ")


def test_the_wheel_has_the_license_of_the_repository(wheel: Path) -> None:
    """The package has a copy: a build can't read a file above its own folder."""
    with zipfile.ZipFile(wheel) as archive:
        packed = archive.read(f"prodlock-{VERSION}.dist-info/licenses/LICENSE")
    assert packed == (PACKAGE.parent / "LICENSE").read_bytes()


def test_the_installed_command_prints_version_and_help(environment: Path, wheel: Path, tmp_path: Path) -> None:
    """As a program and as a module, outside of this repository."""
    python = str(environment / "python")
    pip(environment, "install", str(wheel))
    for command in ([str(environment / "prodlock")], [python, "-m", "prodlock"]):
        assert run(*command, "--version", cwd=tmp_path) == f"prodlock {VERSION}\n"
        assert run(*command, "--help", cwd=tmp_path).startswith("usage: prodlock ")
    # Invoke, which the package requires, has been installed with it.
    run(python, "-c", "import prodlock.tasks", cwd=tmp_path)


def test_a_git_url_with_a_subdirectory_is_installable(environment: Path, tmp_path: Path) -> None:
    """The build needs the package's folder, the changelog and the example."""
    repository = tmp_path / "repository"
    for name in ("prodlock", "CHANGELOG.md", "app", "poetry.lock", "pyproject.toml", "tests"):
        if (REPOSITORY / name).is_dir():
            shutil.copytree(REPOSITORY / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(REPOSITORY / name, repository / name)
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    for command in (["init", "--quiet"], ["add", "--all"], [*identity, "commit", "--quiet", "--message=x"]):
        run("git", *command, cwd=repository)
    target, url = tmp_path / "installed", f"git+{repository.as_uri()}#subdirectory=prodlock"
    pip(environment, "install", "--no-deps", f"--target={target}", url)
    assert run(sys.executable, "-m", "prodlock", "--version", cwd=target) == f"prodlock {VERSION}\n"


def test_the_server_extra_has_the_supported_ranges() -> None:
    """The metadata of the package states what the server checks when it starts."""
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extra = sorted(project["optional-dependencies"]["server"])
    assert extra == [f"{name}{supported}" for name, supported in sorted(requirements.SUPPORTED.items())]


@pytest.mark.parametrize("name", requirements.SUPPORTED)
def test_the_reference_has_the_supported_ranges(name: str) -> None:
    """The documentation states what the server checks when it starts."""
    text = (PACKAGE.parent / "docs/reference/server.md").read_text(encoding="utf-8")
    assert f"| {name} | `{requirements.SUPPORTED[name]}` |" in text


@pytest.mark.full_length
@pytest.mark.parametrize("end", ["lowest", "newest"])
def test_the_server_works_at_both_ends_of_the_supported_ranges(tmp_path: Path, end: str) -> None:
    """The tests of the server pass with the lowest versions, and with the newest ones that the index has."""
    venv.create(tmp_path, with_pip=True)
    programs = tmp_path / ("Scripts" if sys.platform == "win32" else "bin")
    wanted = [f"{name}{supported}" for name, supported in requirements.SUPPORTED.items()]
    if end == "lowest":
        wanted = [one.partition(",")[0].replace(">=", "==") for one in wanted]
    pip(programs, "install", *wanted, "fastapi", "httpx2", "hypothesis", "invoke", "pytest", "websockets")
    # A warning of websockets about what an old uvicorn imports is not a failure.
    options = ("-q", "-p", "no:cacheprovider", "-W", "ignore::DeprecationWarning", "prodlock/tests/server")
    run(str(programs / "python"), "-m", "pytest", *options, cwd=PACKAGE.parent)


def test_importing_the_package_imports_nothing_else() -> None:
    """Production has it for the server; a public name imports its module when it is used."""
    script = (
        "import sys; before = set(sys.modules); import prodlock; print(sorted(set(sys.modules) - before));"
        "prodlock.Project; print('prodlock.project' in sys.modules)"
    )
    assert run(sys.executable, "-S", "-c", script, cwd=PACKAGE.parent) == "['prodlock']\nTrue\n"


@pytest.mark.parametrize("name", prodlock.__all__)
def test_every_public_name_exists(name: str) -> None:
    """Its module has it."""
    assert getattr(prodlock, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    """As in any module."""
    with pytest.raises(AttributeError, match="module 'prodlock' has no attribute 'prove'"):
        prodlock.prove  # type: ignore[attr-defined]  # noqa: B018
