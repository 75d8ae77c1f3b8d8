"""The contents of the project's files are read from the commit, or from given folders."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.origins import repository
from prodlock.origins.records import Repository
from prodlock.project import Project


def sha256(content: bytes) -> str:
    """Return the sha256 of a content."""
    return hashlib.sha256(content).hexdigest()


def git(folder: Path, *args: str) -> str:
    """Run git in a folder and return its output."""
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    command = ["git", *identity, *args]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A repository with a commit, with the project in a folder of it."""
    top = tmp_path / "top"
    (top / "service").mkdir(parents=True)
    git(top, "init", "--quiet")
    (top / "service" / "main.py").write_bytes(b"main\n")
    (top / "shared.py").write_bytes(b"shared\n")
    (top / "empty.py").write_bytes(b"")
    (top / "link.py").symlink_to("shared.py")
    git(top, "add", ".")
    git(top, "commit", "--quiet", "--message=x")
    return Project(top / "service")


def paths(found: Repository) -> set[str]:
    """Return the paths of all files that have content."""
    return {path for content in found.files.values() for path in content}


def test_the_files_of_the_whole_commit_are_read(project: Project) -> None:
    """Those of folders above the project too; empty files are listed apart, and links not at all."""
    found = repository.read(project)
    revision = git(project.root, "rev-parse", "HEAD")
    assert found.name == f"commit {revision[:7]}"
    assert found.files[sha256(b"main\n")] == ["service/main.py"]
    assert found.files[sha256(b"shared\n")] == ["shared.py"]
    assert paths(found) == {"service/main.py", "shared.py"}
    assert found.empty == {"empty.py"}


def test_changes_of_the_working_tree_are_not_read(project: Project) -> None:
    """Neither edited nor added files."""
    (project.root / "main.py").write_bytes(b"edited\n")
    (project.root / "new.py").write_bytes(b"new\n")
    git(project.root, "add", "new.py")
    found = repository.read(project)
    assert sha256(b"main\n") in found.files
    assert not {sha256(b"edited\n"), sha256(b"new\n")} & found.files.keys()


def test_texts_count_with_the_line_ends_of_windows(project: Project) -> None:
    """Git writes them there; a binary file has no lines."""
    (project.root / "data").write_bytes(b"\0\n")
    git(project.root, "add", ".")
    git(project.root, "commit", "--quiet", "--message=x")
    found = repository.read(project)
    assert found.files[sha256(b"main\r\n")] == ["service/main.py"]
    assert sha256(b"\0\r\n") not in found.files


def test_scripts_of_python_count_without_their_first_line(project: Project) -> None:
    """An installer replaces it. A shell's script is another program without it."""
    (project.root / "ctl").write_bytes(b"#!/usr/bin/env python3\nimport shop\n")
    (project.root / "run").write_bytes(b"#!/bin/sh\nexec shop\n")
    git(project.root, "add", ".")
    git(project.root, "commit", "--quiet", "--message=x")
    found = repository.read(project)
    assert found.files[sha256(b"import shop\n")] == ["service/ctl"]
    assert sha256(b"exec shop\n") not in found.files


def test_filters_do_not_change_contents(project: Project) -> None:
    """Attributes and configuration may convert what a checkout writes."""
    (project.root / ".gitattributes").write_bytes(b"*.py ident export-ignore filter=x\n")
    (project.root / "main.py").write_bytes(b"# $Id$\n")
    git(project.root, "add", ".")
    git(project.root, "commit", "--quiet", "--message=x")
    git(project.root, "config", "filter.x.smudge", "tr a-z A-Z")
    assert sha256(b"# $Id$\n") in repository.read(project).files


def test_a_file_that_git_lfs_keeps_counts_by_its_pointer(project: Project) -> None:
    """The commit has the sha256 of its content."""
    digest = sha256(b"large")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 5\n"
    (project.root / "model.bin").write_text(pointer, encoding="utf-8")
    git(project.root, "add", ".")
    git(project.root, "commit", "--quiet", "--message=x")
    assert repository.read(project).files[digest] == ["service/model.bin"]


def test_large_files_are_read_where_the_image_has_their_size(project: Project) -> None:
    """Others can't be of the image."""
    content = bytes(range(256)) * 5000
    (project.root / "large.bin").write_bytes(content)
    git(project.root, "add", ".")
    git(project.root, "commit", "--quiet", "--message=x")
    assert sha256(content) not in repository.read(project).files
    assert sha256(content) in repository.read(project, sizes={len(content)}).files
    assert sha256(content) in repository.read(project, ["."], {len(content)}).files


def test_every_path_of_a_content_is_kept(project: Project) -> None:
    """Also where two files differ in their line ends alone."""
    for name in ("a.py", "b.py"):
        (project.root / name).write_bytes(b"x\n")
    (project.root / "c.py").write_bytes(b"x\r\n")
    found = repository.read(project, ["."]).files
    assert found[sha256(b"x\n")] == ["a.py", "b.py"]
    assert found[sha256(b"x\r\n")] == ["a.py", "b.py", "c.py"]


def test_portions_give_every_content(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large repository is read by several commands."""
    monkeypatch.setattr("prodlock.source._PORTION", 1)
    assert paths(repository.read(project)) == {"service/main.py", "shared.py"}


def test_a_project_without_a_commit_has_no_files(tmp_path: Path) -> None:
    """In no repository, and in a new one."""
    (tmp_path / "main.py").write_bytes(b"main\n")
    assert repository.read(Project(tmp_path)) == ("no file, because the folder has no commit", {}, frozenset())
    git(tmp_path, "init", "--quiet")
    assert repository.read(Project(tmp_path)) == ("no file, because the folder has no commit", {}, frozenset())


def test_given_folders_are_read_from_the_working_tree(project: Project) -> None:
    """Without links, bytecode and virtual environments."""
    for name in ("src/a.py", "src/__pycache__/b.pyc", "src/.git/c", "src/venv/d.py", "src/deep/e.py", "f.py"):
        (project.root / name).parent.mkdir(parents=True, exist_ok=True)
        (project.root / name).write_bytes(name.encode())
    (project.root / "src/venv/pyvenv.cfg").write_bytes(b"x")
    (project.root / "src/link.py").symlink_to("../f.py")
    (project.root / "src/empty.py").write_bytes(b"")
    found = repository.read(project, ["src"])
    assert found.name == "the working tree (src)"
    assert paths(found) == {"src/a.py", "src/deep/e.py"}
    assert found.empty == {"src/empty.py"}
    assert paths(repository.read(project, ["f.py", "../shared.py"])) == {"f.py", "../shared.py"}


def test_a_source_that_does_not_exist_is_refused(project: Project) -> None:
    """The message names it."""
    for name, got in (("nowhere", "nowhere"), ("", "nothing")):
        with pytest.raises(Failure, match=rf"^--source must be a folder or file that exists \(got {got}\)") as raised:
            repository.read(project, [name])
        assert raised.value.code == CANNOT_CHECK


@pytest.mark.parametrize("lost", ["HEAD:shared.py", "HEAD", "HEAD^{tree}", ""])
def test_a_broken_repository_is_refused(project: Project, lost: str) -> None:
    """Objects that can't be read are missing evidence, not an empty repository."""
    objects = project.root.parent / ".git" / "objects"
    name = git(project.root, "rev-parse", lost) if lost else ""
    if name:
        (objects / name[:2] / name[2:]).unlink()
    else:
        shutil.rmtree(objects)
    with pytest.raises(Failure, match=r"^git must be able to read the repository") as raised:
        repository.read(project)
    assert raised.value.code == CANNOT_CHECK


def test_here_documents_of_dockerfiles_are_files(project: Project) -> None:
    """Dockerfiles write scripts and settings with them; with `<<-`, tabs before each line are left out."""
    dockerfile = (
        b"FROM python:3.13-slim\n"
        b"# COPY <<NONE /none\n"
        b"COPY --chmod=755 <<'EOF' /start.sh\n#!/bin/sh\nexec \"$@\"\nEOF\n"
        b"RUN cat > /settings.ini <<-END && true\n\t[a]\n\t  b = 1\n\tEND\n"
        b"COPY <<NEVER /cut\nx\n"
    )
    folder = project.root / "deploy"
    folder.mkdir()
    for name in ("api.Dockerfile", "notes.md"):
        (folder / name).write_bytes(dockerfile)
    found = repository.read(project, ["deploy"])
    for text in (b'#!/bin/sh\nexec "$@"\n', b"[a]\n  b = 1\n"):
        assert found.files[sha256(text)] == ["deploy/api.Dockerfile"]
    assert list(repository.here_documents(dockerfile)) == [b'#!/bin/sh\nexec "$@"\n', b"[a]\n  b = 1\n"]
