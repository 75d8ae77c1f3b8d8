"""`inv check-prod`: whatever is planted in prod is found, wherever it hides; what may be there is not."""

from __future__ import annotations

import base64
import bz2
import functools
import gzip
import io
import json
import lzma
import marshal
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prodlock.failure import Failure
from prodlock.image import reader
from prodlock.project import Project
from prodlock.proof import check
from prodlock.proof.evidence.collect import Evidence, collect
from prodlock.proof.records import normalized
from prodlock.proof.rules import Finding
from prodlock.tests.engine.conftest import (
    COPY,
    DEV,
    PROD,
    PROJECT,
    REPOSITORY,
    ROOT,
    copied,
    docker,
    edit,
    git,
    inspected,
    inv,
    planted,
    secrets,
    sentence,
)

SITE = "/opt/venv/lib/python3.13/site-packages"
LIBRARY = "/usr/local/lib/python3.13"
INSTRUCTION = "RUN plant"


@pytest.fixture(scope="module")
def facts() -> Evidence:
    """The evidence about prod."""
    before = dict(os.environ)
    try:
        return collect(Project(ROOT), None, whole=True)
    finally:
        # A task's process ends with what it has set for Compose; this one goes on.
        os.environ.clear()
        os.environ.update(before)


@dataclass(frozen=True)
class Entry:
    """An entry of a layer."""

    path: str
    content: bytes = b""
    type: bytes = tarfile.REGTYPE
    mode: int = 0o644
    owner: int = 0
    target: str = ""
    headers: tuple[tuple[str, str], ...] = ()


def layer(*entries: Entry) -> bytes:
    """Return a layer's tar."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            member = tarfile.TarInfo(entry.path.lstrip("/"))
            member.type, member.mode, member.linkname = entry.type, entry.mode, entry.target.lstrip("/")
            member.uid = member.gid = entry.owner
            member.size, member.pax_headers = len(entry.content), dict(entry.headers)
            archive.addfile(member, io.BytesIO(entry.content))
    return written.getvalue()


def saved(*layers: bytes) -> bytes:
    """Return what `docker save` writes for an image of these layers."""
    return archived({"rootfs": {}, "history": [{"created_by": INSTRUCTION}] * len(layers)}, layers)


def archived(document: dict[str, Any], layers: Sequence[bytes]) -> bytes:
    """Return the archive of an image with this configuration, whose digests become those of the layers."""
    document["rootfs"]["diff_ids"] = ["sha256:" + sha256(one).hexdigest() for one in layers]
    blobs = {f"/layer{number}": one for number, one in enumerate(layers)}
    manifest = [{"Config": "config", "Layers": [name[1:] for name in blobs]}]
    named = blobs | {"/config": json.dumps(document).encode(), "/manifest.json": json.dumps(manifest).encode()}
    return layer(*(Entry(name, content) for name, content in named.items()))


def with_layers(facts: Evidence, *layers: bytes) -> Evidence:
    """Return the facts of prod with further layers."""
    with tempfile.TemporaryFile() as archive:
        archive.write(saved(*layers))
        archive.flush()
        added = reader.read("planted", archive, lambda _: True)
    prod = facts.image
    files = tuple(file._replace(layer=file.layer + len(prod.layers)) for file in added.files)
    return replace(facts, image=replace(prod, layers=prod.layers + added.layers, files=prod.files + files))


def found(facts: Evidence, *layers: bytes) -> list[Finding]:
    """Return what is found in the layers that are added to prod."""
    changed = with_layers(facts, *layers)
    assert changed.expected
    findings = check.judge(changed, changed.expected)
    return [finding for finding in findings if finding.instruction == INSTRUCTION]


FORBIDDEN = {
    "a package of dev": f"{SITE}/_pytest/main.py",
    "an empty module of dev": f"{SITE}/_pytest/config/__init__.py",
    "a module of another distribution": f"{SITE}/pluggy/_hooks.py",
    "metadata of dev": f"{SITE}/pluggy-*.dist-info/METADATA",
    "a test": "/srv/tests/test_main.py",
    "this project's tasks": "/srv/tasks.py",
    "the lock": "/srv/poetry.lock",
}


@pytest.fixture(scope="module")
def contents() -> dict[str, bytes]:
    """What may not be in prod, out of dev."""
    program = "import glob, json, sys; print(json.dumps([open(glob.glob(p)[0]).read() for p in sys.argv[1:]]))"
    done = docker("run", "--rm", "--network=none", DEV, "python", "-c", program, *FORBIDDEN.values())
    # Of an empty file nothing could be found.
    read = {kind: text.encode() or b"#" for kind, text in zip(FORBIDDEN, json.loads(done.stdout), strict=True)}
    return read | {
        "a secret": b"TOKEN=1234567890abcdef\n",
        "compiled code": marshal.dumps(compile("1 + 1", "x", "exec")),
    }


CONTENTS = (*FORBIDDEN, "a secret", "compiled code")


def packed(pack: Callable[[bytes], bytes]) -> Callable[[bytes, str], list[bytes]]:
    """Return how to hide something in an archive."""
    return lambda content, folder: [layer(Entry(f"{folder}/data", pack(content)))]


def zipped(content: bytes) -> bytes:
    """Return a zip."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inner/x.py", content)
    return written.getvalue()


# Layers that hide a content, and the path of the finding. FOLDER is the place's own folder.
PLACES: dict[str, tuple[Callable[[bytes, str], list[bytes]], str]] = {
    "a folder of its own": (lambda content, folder: [layer(Entry(f"{folder}/x/a.py", content))], "FOLDER/x"),
    "an innocent name": (lambda content, _: [layer(Entry("/usr/share/zoneinfo/Europe/Atlantis", content))], "/usr/share/zoneinfo/Europe/Atlantis"),
    "a legal file": (lambda content, _: [layer(Entry(f"{SITE}/click/core.py", content))], f"{SITE}/click/core.py"),
    "a legal module's bytecode": (
        lambda content, _: [layer(Entry(f"{SITE}/click/__pycache__/core.cpython-313.pyc", content))],
        f"{SITE}/click/__pycache__/core.cpython-313.pyc",
    ),
    "bytecode without a source": (lambda content, _: [layer(Entry(f"{SITE}/quality.pyc", content))], f"{SITE}/quality.pyc"),
    "a RECORD": (lambda content, _: [layer(Entry(f"{SITE}/click-8.5.1.dist-info/EXTRA", content))], f"{SITE}/click-8.5.1.dist-info/EXTRA"),
    "the standard library": (lambda content, _: [layer(Entry(f"{LIBRARY}/json/quality.py", content))], f"{LIBRARY}/json/quality.py"),
    "the standard library's zip": (lambda content, _: [layer(Entry("/usr/local/lib/python313.zip", zipped(content)))], "/usr/local/lib/python313.zip"),
    "a .pth": (lambda content, _: [layer(Entry(f"{SITE}/x.pth", b"import os; " + content))], f"{SITE}/x.pth"),
    "sitecustomize": (lambda content, _: [layer(Entry(f"{SITE}/sitecustomize.py", content))], f"{SITE}/sitecustomize.py"),
    "app/": (lambda content, _: [layer(Entry("/srv/app/util.py", content))], "/srv/app/util.py"),
    "a folder beside app/": (lambda content, _: [layer(Entry("/srv/x/util.py", content))], "/srv/x"),
    "a closed folder": (
        lambda content, folder: [layer(Entry(f"{folder}/shut", type=tarfile.DIRTYPE, mode=0o700), Entry(f"{folder}/shut/a", content, mode=0o600))], "FOLDER/shut",
    ),
    "a home": (lambda content, _: [layer(Entry("/root/.cache/uv/a", content))], "/root/.cache"),
    "a temporary folder": (lambda content, _: [layer(Entry("/tmp/a", content))], "/tmp/a"),
    "a deleted file": (lambda content, folder: [layer(Entry(f"{folder}/x", content)), layer(Entry(f"{folder}/.wh.x"))], "FOLDER/x"),
    "a replaced file": (lambda content, folder: [layer(Entry(f"{folder}/x", content)), layer(Entry(f"{folder}/x", b"harmless"))], "FOLDER/x"),
    "a deleted folder": (lambda content, folder: [layer(Entry(f"{folder}/x/y", content)), layer(Entry(f"{folder}/.wh.x"))], "FOLDER/x"),
    "a replaced folder": (lambda content, folder: [layer(Entry(f"{folder}/x/y", content)), layer(Entry(f"{folder}/x/.wh..wh..opq"))], "FOLDER/x"),
    "a hard link": (
        lambda content, folder: [layer(Entry(f"{folder}/one", content), Entry(f"{folder}/two", type=tarfile.LNKTYPE, target=f"{folder}/one"))], "FOLDER/two",
    ),
    "a symbolic link": (
        lambda content, folder: [layer(Entry(f"{folder}/one", content), Entry("/usr/local/bin/qa", type=tarfile.SYMTYPE, target=f"{folder}/one"))],
        "/usr/local/bin/qa",
    ),
    "a zip": (packed(zipped), "FOLDER/data"),
    "a zip behind a script": (packed(lambda content: b"#!/usr/bin/env python3\n" + zipped(content)), "FOLDER/data"),
    "a zip in a zip": (packed(lambda content: zipped(zipped(content))), "FOLDER/data"),
    "a tar": (packed(lambda content: layer(Entry("/x", content))), "FOLDER/data"),
    "a tar.gz": (packed(lambda content: gzip.compress(layer(Entry("/x", content)))), "FOLDER/data"),
    "a tar.bz2": (packed(lambda content: bz2.compress(layer(Entry("/x", content)))), "FOLDER/data"),
    "a tar.xz": (packed(lambda content: lzma.compress(layer(Entry("/x", content)))), "FOLDER/data"),
    "letters": (packed(base64.b64encode), "FOLDER/data"),
    "reversed bytes": (packed(lambda content: content[::-1]), "FOLDER/data"),
    "a file's name": (
        lambda content, folder: [layer(Entry(f"{folder}/" + base64.urlsafe_b64encode(content[:90]).decode()))],
        "FOLDER/",
    ),
    "an extended attribute": (
        lambda content, _: [layer(Entry("/srv", type=tarfile.DIRTYPE, mode=0o755, headers=(("SCHILY.xattr.user.x", content.hex()),)))], "/srv",
    ),
    "a comment of the layer's": (
        lambda content, _: [layer(Entry("/srv", type=tarfile.DIRTYPE, mode=0o755, headers=(("comment", content.hex()),)))], "/srv",
    ),
    "a link's target": (
        lambda content, _: [layer(Entry("/opt/venv/bin/python", type=tarfile.SYMTYPE, target=base64.b64encode(content).decode()))],
        "/opt/venv/bin/python",
    ),
}  # fmt: skip


# Longer headers are not honest: a layer that has one is not read at all.
HEADERS = {"an extended attribute": 32_000, "a comment of the layer's": 32_000, "a link's target": 3_000}


def is_trap(content: bytes, place: str) -> bool:
    """Return whether a content is too long for a place in a layer's headers."""
    return len(content) > HEADERS.get(place, len(content))


def own_folder(place: str) -> str:
    """Return the folder of a place in which nothing else is hidden."""
    return f"/opt/{list(PLACES).index(place)}"


@pytest.fixture(scope="module")
def hidden(facts: Evidence, contents: dict[str, bytes]) -> Callable[[str], dict[str, list[Finding]]]:
    """What returns the findings about one content in all places, by place: each is hidden in layers of its own."""

    @functools.cache
    def judged(kind: str) -> dict[str, list[Finding]]:
        content = contents[kind]
        layers: list[bytes] = []
        first = {}
        for place, (hide, _) in PLACES.items():
            if not is_trap(content, place):
                first[place] = len(facts.image.layers) + len(layers)
                layers += hide(content, own_folder(place))
        findings = found(facts, *layers)
        return {place: [one for one in findings if one.layer == number] for place, number in first.items()}

    return judged


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", CONTENTS)
def test_proof_finds_what_is_hidden(
    facts: Evidence,
    contents: dict[str, bytes],
    hidden: Callable[[str], dict[str, list[Finding]]],
    kind: str,
    place: str,
) -> None:
    """Any content in any place is found in the layer that holds it."""
    hide, path = PLACES[place]
    folder = own_folder(place)
    if is_trap(contents[kind], place):
        with pytest.raises(Failure, match=r"hostile|a header"):
            found(facts, *hide(contents[kind], folder))
        return
    findings = hidden(kind)[place]
    where = path.replace("FOLDER", folder)
    assert any(is_about(finding, where) for finding in findings), findings


def is_about(finding: Finding, where: str) -> bool:
    """Return whether a finding is about a path, or a folder above it; `/opt/` stands for any path in it."""
    above = f"{finding.path}/"
    return where.startswith(above) or finding.path == where or (where.endswith("/") and above.startswith(where))


ODD: dict[str, tuple[Entry, str]] = {
    "setuid": (Entry(f"{SITE}/click/py.typed", mode=0o4755), f"{SITE}/click/py.typed"),
    "setgid": (Entry("/srv", type=tarfile.DIRTYPE, mode=0o2755), "/srv"),
    "writable for all": (Entry("/srv/app", type=tarfile.DIRTYPE, mode=0o777), "/srv/app"),
    "another owner": (Entry("/srv/app", type=tarfile.DIRTYPE, mode=0o755, owner=10001), "/srv/app"),
    "a device": (Entry("/opt/mem", type=tarfile.CHRTYPE), "/opt/mem"),
    "a pipe": (Entry("/opt/pipe", type=tarfile.FIFOTYPE), "/opt/pipe"),
    "an empty folder": (Entry("/opt/pytest", type=tarfile.DIRTYPE, mode=0o755), "/opt/pytest"),
    "a name of no encoding": (Entry(os.fsdecode(b"/opt/\xff\xfe"), b"x"), os.fsdecode(b"/opt/\xff\xfe")),
    "a name of two lines": (Entry("/opt/a\nb", b"x"), "/opt/a\nb"),
    "a whiteout of what is needed": (Entry(f"{SITE}/click/.wh.core.py"), f"{SITE}/click/.wh.core.py"),
    "a folder in a file's place": (Entry("/etc/passwd", type=tarfile.DIRTYPE, mode=0o755), "/etc/passwd"),
    "a link in a folder's place": (Entry("/srv/app", type=tarfile.SYMTYPE, target="/tmp"), "/srv/app"),
    "other users": (Entry("/etc/passwd", b"root::0:0::/:/bin/sh\n"), "/etc/passwd"),
    "other certificates": (Entry("/etc/ssl/certs/ca-certificates.crt", b"mine"), "/etc/ssl/certs/ca-certificates.crt"),
    "another loader's list": (Entry("/etc/ld.so.preload", b"/opt/x.so"), "/etc/ld.so.preload"),
    "another interpreter": (Entry("/usr/local/bin/python3.13", b"\x7fELF", mode=0o755), "/usr/local/bin/python3.13"),
    "another command": (Entry("/opt/venv/bin/uvicorn", b"#!/bin/sh\n", mode=0o755), "/opt/venv/bin/uvicorn"),
    "other settings of the environment": (Entry("/opt/venv/pyvenv.cfg", b"include-system-site-packages = true\n"), "/opt/venv/pyvenv.cfg"),
}  # fmt: skip


@pytest.mark.parametrize("kind", ODD)
def test_proof_finds_an_odd_entry(facts: Evidence, kind: str) -> None:
    """No content of the dev group's, and yet nothing that prod may have."""
    entry, where = ODD[kind]
    assert where in {finding.path for finding in found(facts, layer(entry))}


def legal(facts: Evidence) -> dict[str, str]:
    """Return the sha256 of each file that prod may have, the last promise of each path."""
    assert facts.expected
    return {row[0]: row[3] for row in facts.expected.golden["rows"] if row[1] == "file"}


@st.composite
def illegal(draw: st.DrawFn, legal: dict[str, str]) -> Entry:
    """Make up a file: a path, legal or in a legal folder, and a content other than the one that it must have."""
    path = draw(st.sampled_from(sorted(legal)))
    if draw(st.booleans()):
        characters = st.characters(codec="utf-8", exclude_characters="/\0")
        name = draw(st.text(characters, min_size=1, max_size=20).filter(lambda name: name not in {".", ".."}))
        path = f"{path.rpartition('/')[0]}/{name}"
    content = draw(st.binary(max_size=200).filter(lambda content: legal.get(path) != sha256(content).hexdigest()))
    return Entry(path, content, mode=draw(st.sampled_from([0o644, 0o600, 0o755])))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_proof_finds_any_file_anywhere(facts: Evidence, data: st.DataObject) -> None:
    """Files that are made up are found, each in its layer."""
    entries = data.draw(st.lists(illegal(legal(facts)), min_size=4, max_size=12))
    findings = found(facts, *(layer(entry) for entry in entries))
    for number, entry in enumerate(entries, len(facts.image.layers)):
        assert any(finding.layer == number and is_about(finding, entry.path) for finding in findings)


def test_proof_accepts_the_same_files_in_another_layer(facts: Evidence) -> None:
    """The positive control's other side: a further layer of what prod has anyway."""
    again = [
        Entry("/srv", type=tarfile.DIRTYPE, mode=0o755),
        Entry(f"{SITE}/click/py.typed"),
        Entry("/tmp", type=tarfile.DIRTYPE, mode=0o1777),
    ]
    assert found(facts, layer(*again)) == []


def proof(*args: str, cwd: Path | None = None) -> tuple[int, dict[str, Any]]:
    """Run the proof and return its exit code and its report."""
    done = inv("check-prod", "--json", *args, **({"cwd": cwd} if cwd else {}))  # type: ignore[arg-type]
    assert done.returncode in {0, 1}, done.stderr
    return done.returncode, json.loads(done.stdout)


def test_proof_accepts_prod() -> None:
    """No finding, every wheel, and the layers of a bare `docker build .`."""
    code, report = proof()
    assert (code, report["findings"], report["rebuilt"]) == (0, [], True)
    assert report["id"] == inspected(PROD)["Id"]
    assert {wheel["name"] for wheel in report["wheels"]} >= {"fastapi", "uvicorn", "httptools"}
    assert "unaccounted" not in report["sizes"]
    reference = (REPOSITORY / "docs/reference/tasks.md").read_text(encoding="utf-8")
    assert [key for key in report if f"`{key}`" not in reference] == []


# In one image, each on a path of its own: instruction, what it is, path.
PLANTED = {
    "a search path": ("ENV PYTHONPATH=/opt/x", "PYTHONPATH", "configuration"),
    "another command": ('CMD ["python"]', "Cmd", "configuration"),
    "an entrypoint that always fails": ('ENTRYPOINT ["false"]', "Entrypoint", "configuration"),
    "root": ("USER root", "User", "configuration"),
    "a trigger": ("ONBUILD RUN true", "OnBuild", "configuration"),
    "an undeclared argument": ("ARG LEVEL=1", "an instruction", "history"),
    "an edited file of a locked wheel": (f"RUN echo '#' >> {SITE}/click/core.py", "file", f"{SITE}/click/core.py"),
    "a folder on the way": ("RUN mkdir -m 700 /opt/x && echo 1 > /opt/x/a", "folder", "/opt/x"),
    "a deleted file": (f"RUN rm {SITE}/click/types.py", "file", f"{SITE}/click/types.py"),
    "a shell": ("RUN cp /bin/dash /usr/local/bin/sh", "file", "/usr/local/bin/sh"),
}


# Further findings of these: a file in a folder, a deletion.
BESIDE = {"/opt/x/a", f"{SITE}/click/.wh.types.py"}
# What each RUN on top of prod leaves behind: BuildKit mounts there.
MOUNT_POINTS = {"/bin", "/dev", "/proc", "/sys"}


@pytest.fixture(scope="module")
def planted_report() -> tuple[int, dict[str, Any]]:
    """The report on an image with everything that is planted."""
    with planted("\n".join(instruction for instruction, *_ in PLANTED.values()), "-") as tag:
        return proof(f"--image={tag}")


@pytest.mark.parametrize("kind", PLANTED)
def test_proof_finds_a_built_leak(kind: str, planted_report: tuple[int, dict[str, Any]]) -> None:
    """End to end: built on top of prod, saved by the Engine, reported with its usual cause, and nothing else is."""
    code, report = planted_report
    assert code == 1
    _, what, path = PLANTED[kind]
    found = [one for one in report["findings"] if (one["what"], one["path"]) == (what, path)]
    assert found, report["findings"]
    assert all(one["cause"] for one in found)
    paths = MOUNT_POINTS | BESIDE | {path for _, _, path in PLANTED.values()}
    assert {one["path"] for one in report["findings"]} <= paths


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_proof_reads_a_saved_image(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    """What another machine built, and saved."""
    file = tmp_path / "prod.tar"
    docker("save", f"--output={file}", PROD)
    file.write_bytes(pack(file.read_bytes()))
    code, report = proof(f"--image={file}")
    assert (code, report["findings"]) == (0, [])


@dataclass(frozen=True)
class Saved:
    """A saved image, to be changed and saved again."""

    layers: list[bytes]
    document: dict[str, Any]

    @classmethod
    def of(cls, reference: str) -> Saved:
        """Return what `docker save` gives of an image."""
        saved = subprocess.run(["docker", "save", reference], check=True, capture_output=True).stdout  # noqa: S607
        with tarfile.open(fileobj=io.BytesIO(saved)) as archive:
            members = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
            contents = {name: file.read() for name, file in members.items() if file}
        (manifest,) = json.loads(contents["manifest.json"])
        return cls([contents[name] for name in manifest["Layers"]], json.loads(contents[manifest["Config"]]))

    def change(self, change: Callable[[tarfile.TarInfo], None]) -> None:
        """Change the entries of the layers."""
        for number, packed in enumerate(self.layers):
            written = io.BytesIO()
            with (
                tarfile.open(fileobj=io.BytesIO(packed)) as old,
                tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT) as new,
            ):
                for member in old:
                    content = old.extractfile(member) if member.isreg() else None
                    change(member)
                    new.addfile(member, content)
            self.layers[number] = written.getvalue()

    def write(self, file: Path) -> None:
        """Write it to a file, with the digests of the changed layers."""
        file.write_bytes(archived(self.document, self.layers))


def test_proof_accepts_an_image_that_was_saved_again(tmp_path: Path) -> None:
    """The control for the next test: other headers alone are reported as other layers."""
    image = Saved.of(PROD)
    image.change(lambda _: None)
    image.write(tmp_path / "prod.tar")
    code, report = proof(f"--image={tmp_path / 'prod.tar'}")
    assert (code, report["findings"]) == (0, [])


def test_proof_finds_small_differences(tmp_path: Path) -> None:
    """Type, permissions, owner, platform and times are equal to what the sources promise, or are findings."""
    image = Saved.of(PROD)

    def change(member: tarfile.TarInfo) -> None:
        path = "/" + member.name.strip("/")
        if path == "/usr/local/bin/python3.13":
            member.mode = 0o644
        if path == f"{SITE}/click/core.py":
            member.type = tarfile.CONTTYPE
        if path == "/srv/app/main.py":
            member.gid = 1
        if path == "/srv":
            member.mode = 0o711

    image.change(change)
    image.document.update({"architecture": "arm64", "created": "2001-01-01T00:00:00Z"})
    image.document["history"][0]["created"] = "2001-01-01T00:00:00Z"
    image.document["history"][2]["empty_layer"] = False
    image.document["history"][0]["empty_layer"] = True
    image.write(tmp_path / "prod.tar")
    code, report = proof(f"--image={tmp_path / 'prod.tar'}")
    assert code == 1
    found = {(one["code"], one["path"], one["what"]) for one in report["findings"]}
    assert {
        ("LS210", "/usr/local/bin/python3.13", "file"),
        ("LS212", f"{SITE}/click/core.py", "file"),
        ("LS211", "/srv/app/main.py", "file"),
        ("LS210", "/srv", "folder"),
        ("LS304", "configuration", "architecture"),
        ("LS304", "configuration", "created"),
        ("LS302", "history", "an instruction"),
    } == found


def test_proof_refuses_a_configuration_in_another_case(tmp_path: Path) -> None:
    """Docker would start the container with it."""
    image = Saved.of(PROD)
    image.document["Config"] = image.document["config"] | {"Entrypoint": ["/bin/sh"]}
    image.write(tmp_path / "prod.tar")
    done = inv("check-prod", f"--image={tmp_path / 'prod.tar'}")
    assert done.returncode == 2
    assert "Config, which Docker reads as config" in done.stderr


def built(folder: Path) -> None:
    """Build both images."""
    done = inv("build", cwd=folder)
    assert done.returncode == 0, done.stderr


def test_proof_finds_what_is_not_committed(repository: Path) -> None:
    """An edit that is not committed, and a file that git ignores: a build takes both."""
    edit(repository / "app" / "main.py", "from __future__", "# edited\nfrom __future__")
    (repository / "app" / "local.env").write_text("TOKEN=1\n", encoding="utf-8")
    built(repository)
    code, report = proof(cwd=repository)
    assert code == 1
    assert {"/srv/app/main.py", "/srv/app/local.env"} <= {one["path"] for one in report["findings"]}


def test_proof_refuses_an_image_of_another_commit(repository: Path) -> None:
    """A stale image is an error, exit code 2: neither a leak nor a pass."""
    built(repository)
    git(repository, "commit", "--quiet", "--allow-empty", "--message=y")
    done = inv("check-prod", cwd=repository)
    assert done.returncode == 2
    assert "must not be stale (got: it was made from" in done.stderr
    # Nothing is built for a comparison that will not be made.
    assert "docker build" not in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_checks_refuse_a_repository_that_git_cannot_read(repository: Path) -> None:
    """A repository of another user, as CI containers mount it, is an error: exit code 2."""
    subprocess.run(["chown", "--recursive", "1234", str(repository)], check=True)  # noqa: S607
    edit(repository / "app" / "main.py", "from __future__", "# edited\nfrom __future__")
    for task in ("check-prod", "check-prod-has-no-pytest"):
        done = inv(task, cwd=repository, HOME=str(repository), GIT_CONFIG_NOSYSTEM="1")
        assert done.returncode == 2, done.stdout
        assert done.stderr.startswith("git must be able to read the repository (got: detected dubious ownership")
        assert "safe.directory" in done.stderr


def test_proof_compares_the_working_tree_without_git(copy: Path) -> None:
    """The report states that it compared the working tree."""
    built(copy)
    done = inv("check-prod", cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Compared with the working tree" in done.stdout


# What an override file can make run beside or instead of the image's program: here as Compose merges it.
OVERRIDE = """\
services:
  api-prod:
    build: {args: {BASE: "python:3.12"}, cache_from: [other], additional_contexts: {prod: ./bench}}
    command: [python]
    entrypoint: [python]
    user: "0:0"
    working_dir: /tmp
    healthcheck: {disable: true}
    privileged: true
    pid: host
    cap_add: [SYS_ADMIN]
    security_opt: ["seccomp=unconfined"]
    init: true
    environment: {UVICORN_APP_DIR: /x, OPENSSL_CONF: /x, PYTHONPATH: /x, DEBUG: "1"}
    env_file: [more.env]
    volumes: ["ELSEWHERE:/srv/app", "code:/x", "./app:/y", "ELSEWHERE:/data/../lib", "/var/run/docker.sock:/z"]
    tmpfs: ["/opt/venv"]
    secrets: [{source: key, target: /srv/app/main.py}]
    configs: [{source: text, target: /etc/ld.so.preload}]
  worker:
    profiles: [prod]
    image: ${COMPOSE_PROJECT_NAME}:dev
  another:
    image: DEV
  under-another-name:
    image: ALIAS
  api-tests:
    profiles: !reset []
  proxy:
    image: haproxy:3.2
    pid: service:api-prod
volumes:
  code:
    driver_opts: {type: none, o: bind, device: HERE/app}
secrets:
  key: {file: more.env}
configs:
  text: {content: x}
"""
OVERRIDDEN = {
    "LS401": {
        "build.args BASE", "build.additional_contexts", "build.cache_from", "image {project}:dev", "image {dev}",
        "image {alias}", "target dev",
    },
    "LS402": {
        "cap_add", "command", "entrypoint", "healthcheck", "init", "pid", "privileged", "security_opt", "user",
        "working_dir",
    },
    "LS403": {
        "{elsewhere}:/srv/app", "{here}/app:/x", "{here}/app:/y", "{elsewhere}:/lib", "tmpfs:/opt/venv",
        "key:/srv/app/main.py", "text:/etc/ld.so.preload", "{socket}:/z",
    },
    "LS404": {"UVICORN_APP_DIR", "OPENSSL_CONF", "PYTHONPATH", "DEBUG", "FROM_FILE"},
    "LS405": {"pid"},
}  # fmt: skip
# What a project may well add.
ALLOWED = """\
services:
  api-prod:
    environment: [APP_LOG_LEVEL=debug, TZ=Europe/Rome, DATABASE_URL=postgresql://db/x, FORWARDED_ALLOW_IPS]
    volumes: ["data:/data", "ELSEWHERE:/var/lib/uploads:ro"]
    tmpfs: ["/run"]
    secrets: [key, {source: token, target: tokens/token}]
    configs: [{source: text, target: /run/text}]
    deploy: {replicas: 2, update_config: {order: start-first}}
    logging: {driver: json-file, options: {max-size: 10m}}
    healthcheck: {interval: 5s}
    ulimits: {nofile: 4096}
    depends_on: {db: {condition: service_healthy}}
  db:
    image: postgres:16
    volumes: ["data:/var/lib/postgresql/data"]
volumes: {data: {}}
secrets:
  key: {file: more.env}
  token: {environment: TOKEN}
configs:
  text: {content: x}
"""


def test_proof_finds_compose_settings_that_change_what_runs(copy: Path, tmp_path: Path) -> None:
    """The image may be clean: what runs must be so, too. An override file changes no image, so one is built for all."""
    built(copy)
    override, link = copy / "docker-compose.override.yml", tmp_path / "link"
    link.symlink_to(copy)
    named = {
        "elsewhere": str(tmp_path / "elsewhere"),
        "here": str(copy.resolve()),
        "project": COPY,
        "alias": f"notes-of-{COPY}:1",
    }
    named |= {"dev": inspected(f"{COPY}:dev")["Id"], "socket": os.path.realpath("/var/run/docker.sock")}
    (copy / "more.env").write_text("FROM_FILE=1\n", encoding="utf-8")

    # Compose reports the path by which it came to the working tree; it may have a symlink.
    text = OVERRIDE.replace("ELSEWHERE", named["elsewhere"]).replace("HERE", str(copy)).replace("DEV", named["dev"])
    override.write_text(text.replace("ALIAS", named["alias"]), encoding="utf-8")
    docker("build", "--quiet", "--target=dev", f"--tag={named['alias']}", *secrets(), ".", cwd=copy)
    try:
        done = inv("check-prod", "--json", cwd=link, PWD=str(link))
    finally:
        docker("rmi", named["alias"])
    assert done.returncode == 1, done.stderr
    findings = json.loads(done.stdout)["findings"]
    assert {one["path"] for one in findings} == {"docker-compose.override.yml"}
    wanted = {(code, what.format_map(named)) for code, places in OVERRIDDEN.items() for what in places}
    assert {(one["code"], one["what"]) for one in findings} == wanted

    override.write_text(ALLOWED.replace("ELSEWHERE", named["elsewhere"]), encoding="utf-8")
    edit(copy / "pyproject.toml", "environment = []", 'environment = ["DATABASE_URL"]')
    done = inv("check-prod", cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Compose runs other images as well, which are not judged: db (postgres:16)." in done.stdout


UNUSABLE = {
    "no file": (None, "docker-compose.yml"),
    "no YAML": ("name: x\nservices: [\n", "yaml"),
    "no text": ("name: x\n\udcff", "docker-compose.yml"),
    "an unknown key": ("name: x\nservices: {api-prod: {image: x, imagine: x}}\n", "imagine"),
    "no service": ("name: x\nservices: {}\n", "must have a service api-prod in the profile prod"),
    "another file": (
        "name: x\nservices: {api-prod: {profiles: [prod], image: x}}\n",
        "docker-compose.yml must have what ",
    ),
    "another profile": ("name: x\nservices: {api-prod: {profiles: [dev], image: x}}\n", "must have a service api-prod"),
}


def test_checks_refuse_an_unusable_compose_file(copy: Path) -> None:
    """A sentence and exit code 2, whatever is wrong with the file and whichever task needs it."""
    for name in ("prod", "dev"):
        docker("tag", f"{PROJECT}:{name}", f"{COPY}:{name}")
    # The checks compare the file with the configuration first.
    others = [("check-prod-has-no-pytest", "no file"), ("check-prod", "no file"), ("sbom", "another file")]
    deploy = (("deploy-check", kind) for kind in UNUSABLE if kind != "another file")
    for task, kind in (*deploy, *others):
        text, told = UNUSABLE[kind]
        file = copy / "docker-compose.yml"
        file.unlink(missing_ok=True)
        if text is not None:
            file.write_bytes(os.fsencode(text))
        done = inv(task, cwd=copy)
        assert (done.returncode, done.stdout) == (2, ""), (task, kind, done.stderr)
        assert told in sentence(done), (task, kind, done.stderr)
        (line,) = (one for one in done.stderr.splitlines() if not one.startswith("$ docker"))
        assert line


def test_proof_applies_the_settings_of_pyproject(copy: Path) -> None:
    """A denied distribution and a size budget under `[tool.prodlock]` make findings."""
    edit(copy / "pyproject.toml", '    "coverage",\n', '    "click",\n    "coverage",\n')
    edit(copy / "pyproject.toml", "size-budget-mb = 70", "size-budget-mb = 20")
    built(copy)
    code, report = proof(cwd=copy)
    assert code == 1
    click, size = report["findings"]
    assert (click["code"], click["what"], click["path"]) == ("LS112", "click", "poetry.lock")
    assert (size["code"], size["what"]) == ("LS217", "size-budget-mb")
    assert "pydantic-core" in size["why"]


def test_proof_names_what_was_added_since_the_budget_was_set(repository: Path) -> None:
    """Git has the lock of the commit that set the budget."""
    lock, settings = repository / "poetry.lock", repository / "pyproject.toml"
    now = lock.read_text(encoding="utf-8")
    edit(lock, 'name = "click"\nversion = "', 'name = "click"\nversion = "0.')
    edit(settings, "size-budget-mb = 70", "size-budget-mb = 20")
    git(repository, "commit", "--quiet", "--all", "--message=budget")
    lock.write_text(now, encoding="utf-8")
    git(repository, "commit", "--quiet", "--all", "--message=click")
    built(repository)
    _, report = proof(cwd=repository)
    (size,) = report["findings"]
    assert re.search(r"; new since the budget was set: click [\d.]+ \d\.\d MB$", size["why"])
    # A size beyond the budget does not prevent the bill of materials.
    assert inv("sbom", cwd=repository).returncode == 0


@pytest.mark.parametrize("name", [".gitattributes", ".dockerignore"])
def test_proof_applies_gitattributes_and_dockerignore(repository: Path, name: str) -> None:
    """Attributes for releases change no checkout; what .dockerignore leaves out is in no image."""
    (repository / "app" / "notes.txt").write_text("$Format:%H$\n", encoding="utf-8")
    (repository / "app" / "hidden.txt").write_text("x\n", encoding="utf-8")
    lines = {
        ".gitattributes": "app/notes.txt export-subst\napp/hidden.txt export-ignore\n",
        ".dockerignore": "app/hidden.txt\n",
    }
    with (repository / name).open("a", encoding="utf-8") as file:
        file.write(lines[name])
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message=notes")
    built(repository)
    code, report = proof(cwd=repository)
    assert (code, report["findings"]) == (0, [])


def test_report_has_instruction_and_usual_cause() -> None:
    """What, where, why, which instruction, what usually causes it; one line a finding."""
    with planted("RUN echo 1 > /srv/notes.txt\nUSER 10001:10001", "-") as tag:
        done = inv("check-prod", f"--image={tag}")
    assert done.returncode == 1
    line = next(line for line in done.stdout.splitlines() if "/srv/notes.txt" in line)
    for part in ("LEAK notes.txt: /srv/notes.txt, layer 5: ", " [LS107]; brought by: RUN "):
        assert part in line
    assert "\nLS107 Project file that is not part of the service. Usual cause: `COPY . .`" in done.stdout


def test_bill_of_materials_matches_its_image_alone(tmp_path: Path) -> None:
    """The same each time, all wheels in it; it matches its image, and no other version, wheel or image."""
    bill = tmp_path / "bill.json"
    assert inv("sbom", f"--output={bill}").returncode == 0
    text = bill.read_text(encoding="utf-8")
    assert inv("sbom").stdout == text
    document = json.loads(text)
    assert document["specVersion"] == "1.6"
    assert {one["name"] for one in document["components"]} >= {"fastapi", "libc6", "python"}
    code, report = proof(f"--sbom={bill}")
    assert (code, report["findings"]) == (0, [])
    wheel = next(one for one in document["components"] if one["name"] == "fastapi")
    for old, new in (
        (wheel["version"], "0.1"),
        (wheel["hashes"][0]["content"], "0" * 64),
        (document["metadata"]["component"]["hashes"][0]["content"], "1" * 64),
    ):
        bill.write_text(text.replace(old, new), encoding="utf-8")
        code, report = proof(f"--sbom={bill}")
        assert code == 1
        assert {one["path"] for one in report["findings"]} == {"bill of materials"}
    bill.write_text("{}", encoding="utf-8")
    done = inv("check-prod", f"--sbom={bill}")
    assert done.returncode == 2
    assert "must be a CycloneDX document (got: " in done.stderr


def test_sbom_refuses_an_image_with_findings() -> None:
    """The report is printed instead, with exit code 1."""
    with planted("RUN echo 1 > /srv/notes.txt\nUSER 10001:10001", "-") as tag:
        done = inv("sbom", f"--image={tag}")
    assert (done.returncode, done.stdout) == (1, "")
    assert "LEAK notes.txt" in done.stderr


SETS = {
    "native code with libraries of its own": ["lxml", "pillow"],
    "namespaces, and data in a folder of the environment": ["zope.interface", "protobuf", "tqdm"],
    "scripts, entry points, and a package in a package": ["argcomplete", "jmespath", "pygments", "setuptools"],
    "data, and a marker that leaves one out": ["certifi", "tzdata", "colorama;sys_platform=='win32'"],
}


@pytest.fixture(scope="module")
def other_dependencies() -> tuple[int, dict[str, Any], int]:
    """Of a project that depends on all of them: the proof's exit code and report, the narrow check's exit code."""
    with copied() as copy:
        done = inv("poetry", "--", "add", "--lock", *(name for names in SETS.values() for name in names), cwd=copy)
        assert done.returncode == 0, done.stderr
        edit(copy / "pyproject.toml", "size-budget-mb = 70", "size-budget-mb = 300")
        built(copy)
        return *proof(cwd=copy), inv("check-prod-has-no-pytest", cwd=copy).returncode


@pytest.mark.parametrize("kind", SETS)
def test_checks_accept_other_dependencies(other_dependencies: tuple[int, dict[str, Any], int], kind: str) -> None:
    """Production may hold, and must hold, what the lock has in its main group."""
    code, report, narrow = other_dependencies
    assert (code, report["findings"], narrow) == (0, [], 0)
    wanted = {normalized(name) for name in SETS[kind] if ";" not in name}
    assert {wheel["name"] for wheel in report["wheels"]} >= wanted


def test_proof_accepts_debian_packages(copy: Path) -> None:
    """Those that the Dockerfile adds, with what they link to."""
    edit(copy / "Dockerfile", 'ARG PACKAGES=""', 'ARG PACKAGES="libpq5"')
    built(copy)
    code, report = proof(cwd=copy)
    assert (code, report["findings"]) == (0, [])


def test_proof_accepts_an_image_of_the_containerd_store(containerd_store: str, tmp_path: Path) -> None:
    """It hands out compressed layers, and calls the image otherwise."""
    file = tmp_path / "prod.tar"
    docker("save", f"--output={file}", PROD)
    docker(f"--host={containerd_store}", "load", f"--input={file}")
    docker(f"--host={containerd_store}", "save", f"--output={file}", PROD)
    code, report = proof(f"--image={file}")
    assert (code, report["findings"]) == (0, [])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
def test_reading_a_gigabyte_takes_200_mb_and_7_seconds_at_most(tmp_path: Path) -> None:
    """At most 200 MB of memory and 7 s, whatever is in it: here a hundred files of noise and one of 300 MB."""
    noise = os.urandom(7_000_000)
    file = tmp_path / "large.tar"
    file.write_bytes(
        saved(
            layer(*(Entry(f"/n{number}", noise) for number in range(100))),
            layer(Entry("/large", noise * 43)),
        )
    )
    program = (
        "import re, sys, time; from prodlock.image import reader; began = time.monotonic()\n"
        "with open(sys.argv[1], 'rb') as archive: facts = reader.read('x', archive, lambda _: True)\n"
        # Not getrusage(2): that begins with what this process had.
        "most = re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1]\n"
        "print(int(most) / 1e3, time.monotonic() - began, len(facts.files))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    megabytes, seconds, files = map(float, done.stdout.split())
    assert files == 101
    assert megabytes < 200
    assert seconds < 7
