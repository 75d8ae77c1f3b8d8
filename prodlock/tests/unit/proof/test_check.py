"""Evidence that is missing or not valid is refused before an image is read; reports are printed in any encoding."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from prodlock import source
from prodlock.docker import engine
from prodlock.failure import CANNOT_CHECK, FAILED, Failure
from prodlock.image.records import File
from prodlock.inside.lock.selection import SCHEMA
from prodlock.project import Project
from prodlock.proof import check, rules
from prodlock.proof.evidence import collect, compose, images, lock
from prodlock.proof.report import Report, print_report, print_text
from prodlock.proof.rules import Finding


@pytest.mark.parametrize(
    "reference", ["", "-x", "--help", ".", "/nowhere/prod.tar", "a b", "a\nb", "\u00e9", "\0", "a" * 600]
)
def test_a_reference_to_neither_a_file_nor_an_image_is_refused(reference: str) -> None:
    """Docker would take it for an option, or for an image of another name; an empty one names none."""
    with pytest.raises(Failure, match="--image must be the name of an image or a saved file"):
        images.saved_file(reference)


def test_a_reference_names_an_image_or_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with an image's name is neither. Without a reference it is the project's image."""
    (tmp_path / "app").mkdir()
    (tmp_path / "-x.tar").touch()
    monkeypatch.chdir(tmp_path)
    assert images.saved_file("-x.tar") == Path("-x.tar")
    for reference in (None, "app", "Host.example:5000/a/b_c:1.0@sha256:" + "0" * 64, "0123456789ab"):
        assert images.saved_file(reference) is None


@pytest.mark.parametrize("whole", [False, True])
def test_a_folder_that_does_not_exist_is_refused(*, whole: bool) -> None:
    """Code 2: git and docker would be reported as missing, which can't be started there."""
    with pytest.raises(Failure, match=r"^nowhere must be a folder \(got none\)") as refused:
        check.check(Project(Path("nowhere")), whole=whole)
    assert refused.value.code == CANNOT_CHECK


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"services: ["], ids=["absent", "no text", "no YAML"])
@pytest.mark.parametrize("whole", [False, True])
def test_without_a_compose_file_nothing_can_be_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, *, whole: bool
) -> None:
    """Code 2, and the file is named."""

    def refuse(*_: str, **__: object) -> str:
        raise Failure("`docker compose` failed: docker-compose.yml: line 1")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "output", refuse)
    monkeypatch.delenv("PRODLOCK_PROJECT", raising=False)
    if content is not None:
        (tmp_path / "docker-compose.yml").write_bytes(content)
    with pytest.raises(Failure, match=r"docker-compose\.yml") as failure:
        collect.collect(Project(), None, whole=whole)
    assert failure.value.code == CANNOT_CHECK


def test_a_failure_of_git_is_reported_before_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Git works while Docker does, so that both may fail."""

    def fail(_: Project) -> None:
        raise Failure("git must be able to read the repository")

    monkeypatch.chdir(tmp_path)
    with pytest.raises(Failure, match=r"must have a docker-compose\.yml"):
        collect.collect(Project(), None, whole=False)
    monkeypatch.setattr(source, "commit", fail)
    with pytest.raises(Failure, match="git must be able to read the repository") as failure:
        collect.collect(Project(), None, whole=False)
    assert failure.value.code == CANNOT_CHECK


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, None])
def test_the_container_of_a_check_is_removed(
    monkeypatch: pytest.MonkeyPatch, interruption: type[BaseException] | None
) -> None:
    """Also where the check is interrupted while Docker creates it."""
    commands = []

    def answer(_: Project, *words: str, **__: object) -> str:
        if words[0] == "create":
            time.sleep(0.1)
        commands.append(words[0])
        return "0123\n" if words[0] == "create" else ""

    monkeypatch.setattr(engine, "output", answer)
    monkeypatch.setattr(images, "_folder", lambda *_: ())
    expected = pytest.raises(interruption) if interruption else contextlib.nullcontext()
    with expected, ThreadPoolExecutor() as pool, images.folders(Project(), pool, "x:dev", "/srv", "/opt/venv") as found:
        if interruption:
            raise interruption
        assert [one.result() for one in found] == [(), ()]
    assert commands == ["create", "rm"]


@pytest.mark.parametrize("text", [None, "x = (", "x = 1\n"], ids=["absent", "no Python", "no settings"])
def test_without_settings_no_variable_can_be_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    """An empty list would make every variable a finding."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text('[tool.prodlock]\nsettings = "app/settings.py"\n', encoding="utf-8")
    if text is not None:
        (tmp_path / "app").mkdir()
        (tmp_path / "app/settings.py").write_text(text, encoding="utf-8")
    with pytest.raises(Failure, match=r"app/settings\.py must have a class `Settings`"):
        compose.settings_variables(Project())


@pytest.mark.parametrize("text", ['{"services": {"api-tests": {}}}', '{"services": null}', "{}"])
def test_a_project_needs_the_production_service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """In the profile that production is started with."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docker-compose.yml").write_text("name: x\n", encoding="utf-8")
    monkeypatch.setattr(engine, "output", lambda *_, **__: text)
    with pytest.raises(Failure, match="must have a service api-prod in the profile prod"):
        compose.resolve(Project())


@pytest.mark.parametrize(
    ("tags", "labels", "layers", "is_of_project"),
    [
        (["x:dev"], {}, [], True),
        (["y:1", "x:prod"], None, None, True),
        (None, {"com.docker.compose.project": "x"}, [], True),
        (["y:1"], None, ["sha256:0", "sha256:1"], True),
        (["y:dev"], {"com.docker.compose.project": "y"}, ["sha256:0"], False),
        ([], None, None, False),
    ],
)
def test_an_image_of_the_project_is_recognized_under_another_name(
    monkeypatch: pytest.MonkeyPatch,
    tags: list[str] | None,
    labels: dict[str, str] | None,
    layers: list[str] | None,
    *,
    is_of_project: bool,
) -> None:
    """By its tags, by the label that Compose gives and later builds inherit, by a layer."""
    facts = [{"RepoTags": tags, "Config": {"Labels": labels}, "RootFS": {"Layers": layers}}]
    monkeypatch.setattr(engine, "output", lambda *_, **__: json.dumps(facts))
    assert compose._is_of_project(Project(), "0123456789ab", "x", frozenset({"sha256:1"})) is is_of_project


def test_a_layer_without_files_is_not_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step such as WORKDIR adds the same one to any image: the last layer with files counts."""
    empty = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    facts = [{"Config": {}, "RootFS": {"Layers": ["sha256:0", "sha256:1", empty]}}]
    monkeypatch.setattr(engine, "output", lambda *_, **__: json.dumps(facts))
    assert compose._own_layers(Project(), "x") == {"sha256:1"}


def test_an_absent_image_is_not_of_the_project(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be pulled."""

    def answer(_: Project, *words: str) -> str:
        if words[1] == "inspect":
            raise Failure("There is no image postgres:16 here.")
        return ""

    monkeypatch.setattr(engine, "output", answer)
    assert compose._is_of_project(Project(), "postgres:16", "x", frozenset()) is False


@pytest.mark.parametrize("listed", [None, "sha256:0\n"], ids=["no answer", "an image"])
def test_a_failing_engine_is_not_evidence_of_an_absent_image(
    monkeypatch: pytest.MonkeyPatch, listed: str | None
) -> None:
    """The failure is reported: the image may be one of this project."""

    def answer(_: Project, *words: str) -> str:
        if words[1] == "inspect" or listed is None:
            raise Failure("The Docker Engine is not running.")
        return listed

    monkeypatch.setattr(engine, "output", answer)
    with pytest.raises(Failure, match="not running"):
        compose._is_of_project(Project(), "postgres:16", "x", frozenset())


def test_a_bill_of_materials_needs_an_existing_folder(tmp_path: Path) -> None:
    """It is required before the proof starts."""
    with pytest.raises(Failure, match=rf"\(got no folder {tmp_path}/missing\)") as failure:
        check.sbom(Project(), None, str(tmp_path / "missing" / "bill.json"))
    assert failure.value.code == CANNOT_CHECK


@pytest.mark.parametrize("value", ["", "."])
def test_an_option_for_a_file_refuses_another_value(value: str) -> None:
    """An empty --sbom would compare no document."""
    with pytest.raises(Failure, match=r"^--sbom must be the name of a file \(got '\.?'\)") as failure:
        check.prod(Project(), None, bill=value, as_json=False)
    assert failure.value.code == CANNOT_CHECK
    with pytest.raises(Failure, match=r"^--output must be the name of a file \(got '\.?'\)"):
        check.sbom(Project(), None, value)


def test_names_of_any_encoding_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of no encoding, and also where standard output has 256 characters only."""
    printed = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(printed, encoding="cp1252", newline="", write_through=True))
    read = {"layers": 1, "files": 1, "bytes": 1, "seconds": 1, "memory": 1}
    report = Report(
        "x:1",
        "sha256:1",
        (Finding(rules.UNACCOUNTED, "a file", "/\u65e5\udcff", "", "no source has it"),),
        "",
        read,
        {},
    )
    assert print_report(report, as_json=False) == FAILED
    assert rb"LEAK a file: /\u65e5\udcff" in printed.getvalue()


@pytest.mark.parametrize("name", ["/dev/full", ""])
def test_a_report_that_cannot_be_written_is_an_error(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """On a full disk, and where standard output is closed: the exit code must not be that of findings."""
    with open(name, "w", encoding="utf-8") if name else contextlib.nullcontext() as output:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdout", output)
        with pytest.raises(Failure, match=r"^Standard output must be .* \(got: .+\)\. To fix it: ") as raised:
            print_text("report")
        assert raised.value.code == CANNOT_CHECK


def test_a_report_that_has_no_reader_is_an_error() -> None:
    """As with `| true`: the exit code must not be that of findings, and there is no message."""
    reader, writer = os.pipe()
    os.close(reader)
    program = (
        "import sys; from prodlock import failure; from prodlock.proof.report import print_text; "
        "sys.exit(failure.run(lambda: print_text('report'))[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    assert (done.returncode, done.stderr) == (CANNOT_CHECK, b"")


LOCK = b'[[package]]\r\nname = "a"\r\nversion = "1"\r\ngroups = ["main"]\r\n'


def selection(**changes: object) -> File:
    """Return the file of dev that states what its build took of poetry.lock."""
    groups = {"main": [{"name": "a", "version": "1", "sha256": ["12"]}]}
    # Of its bytes, line ends included, as a build sees them.
    digest = hashlib.sha256(LOCK).hexdigest()
    written = {"schema": SCHEMA, "lock": digest, "groups": groups} | changes
    return File("/srv/selection.json", head=json.dumps(written).encode())


def test_the_lock_is_read_from_devs_selection() -> None:
    """Where it was built from the lock that is here."""
    assert lock.selected("x:dev", [File("/srv/a"), selection()], "poetry.lock", LOCK).main == {"a": {"1"}}


@pytest.mark.parametrize(
    ("files", "error"),
    [
        (
            [],
            "x:dev must not be stale (got: it has no /srv/selection.json, which every build of this project's dev",
        ),
        (
            [selection()._replace(path="/opt/venv/selection.json")],
            "x:dev must not be stale (got: it has no /srv/selection.json",
        ),
        (
            [selection(lock="56")],
            "x:dev must not be stale (got: poetry.lock has changed since). To fix it: run `inv build`",
        ),
        (
            [selection(schema=0)],
            "x:dev must not be stale (got: its /srv/selection.json is of another version of this project's",
        ),
        ([selection(groups=[])], "x:dev must not be stale (got: its /srv/selection.json can't be read"),
        (
            [selection(groups={"main": [{"name": "a"}]})],
            "x:dev must not be stale (got: its /srv/selection.json can't be read",
        ),
        (
            [selection(groups={"main": [{"name": 1, "version": []}]})],
            "x:dev must not be stale (got: its /srv/selection.json can't",
        ),
        (
            [File("/srv/selection.json", head=b"[]")],
            "x:dev must not be stale (got: its /srv/selection.json can't be read",
        ),
        (
            [File("/srv/selection.json", head=b"\xff{")],
            "x:dev must not be stale (got: its /srv/selection.json can't be read",
        ),
    ],
)
def test_a_dev_image_of_another_lock_is_stale(files: list[File], error: str) -> None:
    """Or one that does not state what it was built from: then nothing is known of main."""
    with pytest.raises(Failure, match=re.escape(error)) as failure:
        lock.selected("x:dev", files, "poetry.lock", LOCK)
    assert failure.value.code == CANNOT_CHECK


@pytest.mark.parametrize("files", [[], [selection()]], ids=["a dev that states nothing", "a dev of another lock"])
@pytest.mark.parametrize(
    "content",
    [b"", b"<<<<<<< HEAD\n" + LOCK, LOCK.replace(b"groups", b"group"), b"package = 1\n", b'package = ["a"]\n', b"\xff"],
)
def test_a_file_that_is_not_a_lock_is_refused(files: list[File], content: bytes) -> None:
    """An empty file, a merge conflict, a lock of a Poetry before 2.0, other TOML, other bytes."""
    with pytest.raises(
        Failure, match=r"poetry\.lock must be a lock of Poetry 2 \(got: .+\). To fix it: run `inv poetry -- lock`"
    ):
        lock.selected("x:dev", files, "poetry.lock", content)


def test_without_a_lock_nothing_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is asked of Docker."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        Failure, match=r"^poetry\.lock must be a lock of Poetry 2 \(got: No such file or directory\)\. To fix it: run "
    ):
        lock.read(Project())


def test_reported_findings_have_no_secrets() -> None:
    """Neither in the instruction nor in the reason of a finding, whichever judge wrote it."""
    step = "RUN curl -H 'Authorization: Bearer abc' x"
    reported = check._masked(Finding(rules.SETTING, "Cmd", "configuration", step, f"Cmd is {step}"))
    assert "abc" not in reported.instruction + reported.why
