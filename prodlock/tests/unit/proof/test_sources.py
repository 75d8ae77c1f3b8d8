"""The Dockerfile's stage `sources` names what ships."""

from __future__ import annotations

import io
import tarfile
from hashlib import sha256
from pathlib import Path
from typing import IO

import pytest

from prodlock.docker import engine
from prodlock.failure import Failure
from prodlock.project import Project
from prodlock.proof.evidence import sources
from prodlock.proof.evidence.sources import Copy

STAGE = """\
# COPY notes /srv/notes
FROM scratch AS other
COPY other /srv/other

FROM --platform=$BUILDPLATFORM scratch as sources
COPY app /srv/app
COPY --chmod=644 pkg/__init__.py pkg/version.py \\
    # A comment.
    pkg/server \\
    /srv/pkg/

FROM scratch AS prod
COPY --from=sources / /
COPY more /srv/more
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A project whose stage `sources` copies a folder and two files."""
    (tmp_path / "Dockerfile").write_text(STAGE, encoding="utf-8")
    for path in ("app/__pycache__", "pkg/server"):
        (tmp_path / path).mkdir(parents=True)
    for path in ("app/main.py", "app/__pycache__/main.pyc", "pkg/__init__.py", "pkg/version.py", "pkg/server/x.py"):
        (tmp_path / path).write_text(path, encoding="utf-8")
    (tmp_path / "app/link.py").symlink_to("main.py")
    return Project(tmp_path, {})


def test_the_stage_alone_names_the_sources(project: Project) -> None:
    """A file keeps its name in a folder; of a folder, the content is copied. Other stages do not count."""
    assert sources.copies(project) == [
        Copy("app", "/srv/app", is_plain=True),
        Copy("pkg/__init__.py", "/srv/pkg/__init__.py", is_plain=True),
        Copy("pkg/version.py", "/srv/pkg/version.py", is_plain=True),
        Copy("pkg/server", "/srv/pkg", is_plain=True),
    ]


def test_sources_have_the_content_of_the_working_tree(project: Project) -> None:
    """Without bytecode and links, by their paths in the image."""
    found = sources.of_working_tree(project)
    names = {"/srv/app/main.py": "app/main.py", "/srv/pkg/__init__.py": "pkg/__init__.py",
             "/srv/pkg/version.py": "pkg/version.py", "/srv/pkg/x.py": "pkg/server/x.py"}  # fmt: skip
    assert found.files == {path: sha256(text.encode()).hexdigest() for path, text in names.items()}
    assert found.include("/srv/app/new.py")


@pytest.mark.parametrize(
    "line",
    [
        "COPY --from=tool server /srv/server",
        "COPY app/*.py /srv/app/",
        "ADD $X /srv/app",
        "COPY --exclude=tests app /srv/app",
        "COPY --parents app/main.py /srv/",
        "add app.tar.gz /srv/app",
    ],
)
def test_a_build_gives_what_only_a_build_resolves(project: Project, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Other contexts, patterns and variables, options, archives."""
    (project.root / "Dockerfile").write_text(f"FROM scratch AS sources\n{line}\n", encoding="utf-8")

    def write(_: Project, to: IO[bytes], *_words: str) -> None:
        with tarfile.open(fileobj=to, mode="w") as archive:
            entry = tarfile.TarInfo("srv/app/a.py")
            entry.size = 1
            archive.addfile(entry, io.BytesIO(b"a"))
        to.seek(0)

    monkeypatch.setattr(engine, "write", write)
    assert sources.of_working_tree(project).files == {"/srv/app/a.py": sha256(b"a").hexdigest()}


@pytest.mark.parametrize("text", [None, "FROM scratch AS prod\nCOPY app /srv/app\n", "FROM scratch AS sources\n"])
def test_a_dockerfile_without_sources_is_refused(project: Project, text: str | None) -> None:
    """No source would be compared."""
    (project.root / "Dockerfile").unlink()
    if text is not None:
        (project.root / "Dockerfile").write_text(text, encoding="utf-8")
    with pytest.raises(Failure, match=r"^The Dockerfile must .* To fix it: "):
        sources.copies(project)


def test_a_commit_without_a_source_is_refused(project: Project, tmp_path: Path) -> None:
    """Before anything is built."""
    tree = tmp_path / "tree"
    tree.mkdir()
    with pytest.raises(
        Failure, match=r"^The commit must have `app`, which the stage .* \(got none\)\. To fix it: commit it"
    ):
        sources.archive(project, tree)
    (project.root / "pkg/version.py").unlink()
    with pytest.raises(Failure, match=r"^The project must have `pkg/version.py`, .* To fix it: restore it"):
        sources.archive(project, project.root)
