"""The files that Docker reads are rendered from `[tool.prodlock]`."""

from __future__ import annotations

from pathlib import Path

import pytest

from prodlock import generated, service
from prodlock.configuration import Command, Configuration
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.server import settings

REPOSITORY = Path(__file__).parents[3]
FACTS = generated.Facts("shop", ("APP_NAME",), is_own=False)
CONFIGURATION = Configuration(lock="poetry.lock")
NAMES = ("Dockerfile", "docker-compose.yml", ".dockerignore")


def write(root: Path, configuration: Configuration = CONFIGURATION) -> Project:
    """Write the files of a configuration with its defaults."""
    for path, rendered in generated.files(configuration, FACTS).items():
        (root / path).write_text(rendered.text, encoding="utf-8")
    (root / "pyproject.toml").write_text("", encoding="utf-8")
    return Project(root, {})


@pytest.mark.parametrize("name", NAMES)
def test_the_files_of_this_repository_are_rendered(name: str) -> None:
    """Byte for byte, from its own configuration."""
    project = Project(REPOSITORY, {})
    facts = generated.facts(project, "quotes", service.variables(project))
    assert (REPOSITORY / name).read_text(encoding="utf-8") == generated.files(project.configuration, facts)[name].text


def test_the_variables_of_the_server_are_those_that_it_reads() -> None:
    """Compose hands on each of them, and no other one."""
    assert set(settings.VARIABLES) == set(generated.SERVER_VARIABLES)


def test_rendered_files_pass(tmp_path: Path) -> None:
    """The positive control."""
    generated.check(write(tmp_path))


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("Dockerfile", "COPY app /srv/app"),
        ("Dockerfile", "EXPOSE 8000"),
        ("Dockerfile", "python -m prodlock.inside.lock /lock/poetry.lock /out"),
        ("docker-compose.yml", "mem_limit: 256m"),
        (".dockerignore", "!poetry.lock"),
    ],
)
def test_a_missing_line_is_refused(tmp_path: Path, file: str, line: str) -> None:
    """The configuration is the one place that is changed."""
    project = write(tmp_path)
    text = (tmp_path / file).read_text(encoding="utf-8")
    assert line in text
    (tmp_path / file).write_text(text.replace(line, "#"), encoding="utf-8")
    with pytest.raises(Failure, match=f"^{file} must have what .* gives .*`prodlock upgrade`"):
        generated.check(project)


def test_a_missing_description_is_named(tmp_path: Path) -> None:
    """`prodlock upgrade` without it would write the files of the defaults."""
    project = write(tmp_path)
    (tmp_path / "pyproject.toml").unlink()
    with pytest.raises(Failure, match=r"^Dockerfile must .* \(got no pyproject\.toml\)\. To fix it: restore it"):
        generated.check(project)


@pytest.mark.parametrize("file", NAMES)
def test_an_upgrade_that_is_not_finished_stops_a_build(tmp_path: Path, file: str) -> None:
    """Docker would report the marks as a line that it can't read."""
    project = write(tmp_path)
    with (tmp_path / file).open("a", encoding="utf-8") as text:
        text.write("<<<<<<< yours\n=======\n>>>>>>> Prodlock 9\n")
    with pytest.raises(
        Failure, match=rf"^{file} must have no marked conflicts \(got some: an upgrade was not finished"
    ):
        generated.check(project)


@pytest.mark.parametrize(
    "line", ["# Two images", "# An allow-list", "name: shop", "APP_LOG_FORMAT", "stop_grace_period", "pids_limit"]
)
def test_other_lines_are_the_users(tmp_path: Path, line: str) -> None:
    """Comments, the name, variables and what is the same in every project may be changed."""
    project = write(tmp_path)
    removed = 0
    for name in NAMES:
        lines = (tmp_path / name).read_text(encoding="utf-8").splitlines()
        kept = [one for one in lines if line not in one]
        (tmp_path / name).write_text("\n".join(kept), encoding="utf-8")
        removed += len(lines) - len(kept)
    assert removed
    generated.check(project)


def test_a_changed_configuration_is_refused_until_the_files_follow(tmp_path: Path) -> None:
    """Each value that the files have is compared."""
    project = write(tmp_path)
    for key, value in {"port": "9000", "memory": '"1g"', "sources": '["shop"]', "health": '"/live"'}.items():
        (tmp_path / "pyproject.toml").write_text(f"[tool.prodlock]\n{key} = {value}\n", encoding="utf-8")
        with pytest.raises(Failure, match="prodlock upgrade"):
            generated.check(Project(project.root, {}))


def test_files_of_other_names_are_rendered() -> None:
    """BuildKit reads an ignore file beside a Dockerfile of another name."""
    configuration = Configuration(lock="uv.lock", dockerfile="prodlock.Dockerfile", compose="prodlock.compose.yml")
    found = generated.files(configuration, FACTS)
    assert set(found) == {"prodlock.Dockerfile", "prodlock.compose.yml", "prodlock.Dockerfile.dockerignore"}
    assert "dockerfile: prodlock.Dockerfile" in found["prodlock.compose.yml"].text


def test_no_placeholder_is_left() -> None:
    """Whatever the configuration is."""
    configuration = Configuration(
        sources=("src/shop", "main.py"),
        generated=("frontend/dist",),
        import_from=("src",),
        application="shop.main:app",
        server=("gunicorn", "shop.main:app"),
        lock="uv.lock",
        groups=("main", "worker"),
        extras=("postgres",),
        package="backend",
        commands=(Command("worker", ("celery", "worker"), once=False),),
    )
    found = generated.files(configuration, FACTS)
    assert not any("{{" in one.text for one in found.values())
    dockerfile = found["Dockerfile"].text
    assert "--group=main --group=worker --extra=postgres --package=backend /lock/" in dockerfile
    assert "PYTHONPATH=/srv/src:/srv\n" in dockerfile
    assert 'CMD ["gunicorn", "shop.main:app"]' in dockerfile
    compose = found["docker-compose.yml"].text
    assert '  worker: {<<: *prod, command: ["celery", "worker"],' in compose
    # What only prodlock.server reads and checks is not claimed of another server.
    assert "stop_grace_period: 10s\n" in compose
    assert "APP_" not in compose.replace("APP_NAME", "")
    assert "The service checks" not in compose
    own = generated.files(Configuration(), FACTS)["docker-compose.yml"].text
    assert "stop_grace_period: ${APP_STOP_GRACE_SECONDS:-10}s\n" in own
