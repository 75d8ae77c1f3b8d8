"""The closed world: an image contains what is expected, and nothing else."""

from __future__ import annotations

import hashlib

import pytest

from prodlock.image.records import File, Image, Layer
from prodlock.proof import rules
from prodlock.proof.judges import contents
from prodlock.proof.records import BASE, SOURCES, ExpectedContents, ExpectedEntry
from prodlock.proof.rules import Rule

SITE = "/opt/venv/lib/python3.13/site-packages"


def digest(content: bytes) -> str:
    """Return the sha256 of some content."""
    return hashlib.sha256(content).hexdigest()


def expected_file(path: str, content: bytes = b"", *, mode: int = 0o644, source: str = "h11 0.16") -> ExpectedEntry:
    """Return an expected file."""
    return ExpectedEntry(path, "file", mode, digest(content), len(content), (0, 0), source)


def folder(path: str, mode: int = 0o755) -> ExpectedEntry:
    """Return an expected folder."""
    return ExpectedEntry(path, "folder", mode, "", 0, (0, 0), "the base image")


PROMISED = [
    *(folder(path) for path in ("/opt/venv/lib", "/opt/venv/lib/python3.13", SITE, f"{SITE}/h11")),
    folder("/opt"), folder("/opt/venv"), folder("/srv"), folder("/srv/app")._replace(source=SOURCES),
    folder("/tmp", 0o1777), folder("/etc"),
    expected_file(f"{SITE}/h11/__init__.py", b"h11"),
    expected_file("/srv/app/main.py", b"app", source="the sources"),
    expected_file("/usr/bin/bash", b"bash", mode=0o755, source="the base image"),
    expected_file("/etc/shadow", b"x", mode=0o640, source=BASE)._replace(owner=(0, 42)),
    expected_file("/etc/passwd", b"of the build", source="the build"),
    ExpectedEntry("/opt/venv/bin/python", "link", 0o777, "/usr/local/bin/python3", 0, (0, 0), "venv"),
]  # fmt: skip
# What the base image has, and production does not take.
NOT_TAKEN = [
    expected_file("/etc/passwd", b"of the base image", source=BASE),
    expected_file("/usr/bin/dash", b"dash", mode=0o755),
]
EXPECTED = ExpectedContents.from_rows([*((*one, True) for one in PROMISED), *((*one, False) for one in NOT_TAKEN)])


def file(path: str, content: bytes = b"", **more: object) -> File:
    """Return a regular file of the second layer."""
    return File(path, 1, len(content), 0o644, sha256=digest(content))._replace(**more)  # type: ignore[arg-type]


CLEAN = [
    *(File(one.path, mode=one.mode, directory=True) for one in PROMISED if one.kind == "folder"),
    file(f"{SITE}/h11/__init__.py", b"h11", layer=0),
    file("/srv/app/main.py", b"app", layer=0),
    file("/usr/bin/bash", b"bash", layer=0, mode=0o755),
    file("/etc/shadow", b"x", layer=0, mode=0o640, owner=(0, 42)),
    file("/etc/passwd", b"of the build", layer=0),
    File("/opt/venv/bin/python", mode=0o777, target="/usr/local/bin/python3"),
]


def image(*planted: File) -> Image:
    """Return a clean image with more in its second layer."""
    layers = (Layer("sha256:0", "COPY prod"), Layer("sha256:1", "RUN more"))
    return Image("x:1", layers, {}, {}, (), (*CLEAN, *planted))


def found(*planted: File, judges: tuple[contents.Judge, ...] = contents.JUDGES) -> list[tuple[str, str]]:
    """Return where something is found, and by which rule."""
    return [(one.path, one.rule.code) for one in contents.unaccounted(image(*planted), EXPECTED, judges)]


SHADOW = file("/etc/shadow", b"x", mode=0o640, owner=(0, 42))
LEAKS: dict[str, tuple[File, Rule]] = {
    "an unknown file": (file("/opt/x.py"), rules.UNACCOUNTED),
    "an unknown file in app/": (file("/srv/app/x.py"), rules.UNACCOUNTED_SOURCE),
    "an unknown file beside app/": (file("/srv/x.py"), rules.PROJECT_FILE),
    "an unknown module": (file(f"{SITE}/x.py"), rules.UNACCOUNTED_MODULE),
    "a cache": (file("/root/.cache/uv/x"), rules.UNACCOUNTED_CACHE),
    "unknown bytecode": (file(f"{SITE}/x.pyc"), rules.UNACCOUNTED_BYTECODE),
    "a file of the base image that production does not take": (
        file("/usr/bin/dash", b"dash", mode=0o755), rules.UNACCOUNTED,
    ),
    "an empty folder": (File("/opt/pytest", 1, mode=0o755, directory=True), rules.UNACCOUNTED),
    "a whiteout": (file("/opt/.wh.secret"), rules.DELETED),
    "an edited file": (file(f"{SITE}/h11/__init__.py", b"h11 "), rules.CHANGED),
    "the base image's file in the place of the build's": (file("/etc/passwd", b"of the base image"), rules.CHANGED),
    "an older app": (file("/srv/app/main.py", b"old"), rules.CHANGED_SOURCE),
    "a link in a file's place": (File("/srv/app/main.py", 1, target="/tmp/x"), rules.WRONG_KIND),
    "a file in a link's place": (file("/opt/venv/bin/python"), rules.WRONG_KIND),
    "a link elsewhere": (File("/opt/venv/bin/python", 1, target="/opt/x"), rules.WRONG_LINK),
    "a setuid program": (file("/usr/bin/bash", b"bash", mode=0o4755), rules.WRONG_MODE),
    "a program that can not be run": (file("/usr/bin/bash", b"bash", mode=0o644), rules.WRONG_MODE),
    "a file that all may write": (file("/srv/app/main.py", b"app", mode=0o666), rules.WRONG_MODE),
    "a folder that all may write": (File("/opt", 1, mode=0o777, directory=True), rules.WRONG_MODE),
    "a module made executable": (file(f"{SITE}/h11/__init__.py", b"h11", mode=0o755), rules.WRONG_MODE),
    "a secret made readable": (SHADOW._replace(mode=0o644), rules.WRONG_MODE),
    "a source that the service can't read": (file("/srv/app/main.py", b"app", mode=0o600), rules.WRONG_MODE),
    "a closed folder": (File("/srv/app", 1, mode=0o700, directory=True), rules.WRONG_MODE),
    "another owner": (file("/srv/app/main.py", b"app", owner=(10001, 0)), rules.WRONG_OWNER),
    "root in another owner's place": (SHADOW._replace(owner=(0, 0)), rules.WRONG_OWNER),
    "an extended attribute": (
        file("/usr/bin/bash", b"bash", mode=0o755, extra="SCHILY.xattr.user.x"), rules.EXTRA_DATA,
    ),
}  # fmt: skip


def test_a_clean_image_has_no_findings() -> None:
    """All that is expected, and nothing else."""
    assert found() == []


def test_expected_files_may_be_repeated_in_a_later_layer() -> None:
    """Each exactly as its source has it."""
    assert found(file("/usr/bin/bash", b"bash", mode=0o755), SHADOW) == []


@pytest.mark.parametrize("kind", LEAKS)
def test_a_leak_is_found(kind: str) -> None:
    """By its rule, at its path, with its reason and the instruction of its layer."""
    planted, rule = LEAKS[kind]
    (finding,) = contents.unaccounted(image(planted), EXPECTED)
    assert (finding.path, finding.rule) == (contents.topmost(planted.path, EXPECTED), rule)
    assert finding.why
    assert (finding.instruction, finding.layer) == ("RUN more", 1)


@pytest.mark.parametrize("judge", contents.JUDGES, ids=lambda judge: judge.__name__)
def test_without_a_judge_a_leak_is_missed(judge: contents.Judge) -> None:
    """Each judge finds what no other does, or finds a more exact rule: without it a test above fails."""
    others = tuple(other for other in contents.JUDGES if other is not judge)
    verdicts = [(found(planted, judges=others), rule.code) for planted, rule in LEAKS.values()]
    assert any(not findings or findings[0][1] != code for findings, code in verdicts)


def test_an_unexpected_folder_is_one_finding() -> None:
    """With all that is in it, at its topmost."""
    planted = [File("/opt/x", 1, mode=0o755, directory=True), file("/opt/x/a.py"), file("/opt/x/b/c.py")]
    (finding,) = contents.unaccounted(image(*planted), EXPECTED)
    assert (finding.what, finding.path, finding.files) == ("folder", "/opt/x", 2)


def test_a_leak_that_a_later_layer_covers_is_found() -> None:
    """What a later layer covers still travels in the image."""
    covered = file("/srv/app/main.py", b"secret", layer=0)
    assert found(covered, file("/srv/app/main.py", b"app"))[0][0] == "/srv/app/main.py"


@pytest.mark.parametrize(
    ("planted", "gone"),
    [
        ((), []),
        ((file("/srv/app/.wh.main.py"),), ["/srv/app/main.py"]),
        ((file("/srv/.wh.app"),), ["/srv/app", "/srv/app/main.py"]),
        ((file("/srv/app/.wh..wh..opq"),), ["/srv/app/main.py"]),
        ((file("/srv/app/.wh..wh..opq"), file("/srv/app/main.py", b"app")), []),
        ((file("/srv/app/.wh.main.py", layer=0), file("/srv/app/main.py", b"app")), []),
    ],
    ids=["nothing", "a file", "a folder", "a folder's content", "replaced in the same layer", "brought back"],
)
def test_missing_files_are_found(planted: tuple[File, ...], gone: list[str]) -> None:
    """In what a container would see."""
    assert [one.path for one in contents.missing(image(*planted), EXPECTED)] == gone


def test_a_layer_may_hide_the_whole_root_folder() -> None:
    """Everything is missing then."""
    assert sum(one.files for one in contents.missing(image(file("/.wh..wh..opq")), EXPECTED)) == len(PROMISED)


def test_missing_files_of_one_folder_are_one_finding() -> None:
    """A whole distribution that is not there is not a hundred findings."""
    added = [expected_file(f"{SITE}/x/a.py", source="x 1"), expected_file(f"{SITE}/x/b.py", source="x 1")]
    more = ExpectedContents.from_rows([(*one, True) for one in (*PROMISED, *added)])
    (finding,) = contents.missing(image(), more)
    assert (finding.what, finding.path, finding.files) == ("files", f"{SITE}/x", 2)


def test_a_name_that_looks_like_an_archives_member_is_judged() -> None:
    """A folder `x!` is judged like any other."""
    assert found(file("/opt/x!/secret", b"x"))[0][0] == "/opt/x!"


def test_members_of_an_expected_archive_are_not_judged() -> None:
    """Only the file itself is compared."""
    assert found(file("/usr/bin/bash!/content", b"x", packed=True)) == []


def test_a_file_that_differs_between_dev_and_prod_is_found() -> None:
    """A difference means that something else was tested than what ships."""
    dev = [
        file("/srv/app/main.py", b"app"),
        file("/srv/tests/x.py", b"test"),
        file(f"{SITE}/h11/__init__.py", b"other"),
    ]
    (finding,) = contents.differing(image().files, dev)
    assert finding.path == f"{SITE}/h11/__init__.py"


def test_files_that_production_does_not_take_are_the_base_images() -> None:
    """By what it has at a path; without the build and the wheels."""
    assert EXPECTED.base["/etc/passwd"] == {digest(b"of the base image")}
    assert "/srv/app/main.py" not in EXPECTED.base


def test_wheels_provide_files_by_path_and_content() -> None:
    """Neither alone; and what is the project's own is looked into."""
    path = f"{SITE}/h11/__init__.py"
    (wheels,) = EXPECTED.at(path)
    assert EXPECTED.provides(path, wheels.content)
    assert not EXPECTED.provides(path, digest(b"other"))
    assert not EXPECTED.provides("/elsewhere", wheels.content)
    (app,) = EXPECTED.at("/srv/app/main.py")
    assert not EXPECTED.provides("/srv/app/main.py", app.content)


def test_sizes_are_summed_by_source() -> None:
    """The largest first, with what no source accounts for."""
    sizes = contents.sizes(image(file("/opt/x", b"x" * 100)), EXPECTED)
    assert list(sizes) == ["unaccounted", "the build", "the base image", "h11 0.16", "the sources", "venv"]
    assert sizes["unaccounted"] == 100


SIZES = {"numpy 2.3": 30_000_000, "the base image": 20_000_000, "app/": 1_000_000, "click 8.4": 500_000}


@pytest.mark.parametrize("budget", [None, 51.5, 60])
def test_a_size_within_its_budget_is_not_a_finding(budget: float | None) -> None:
    """Without a budget, no size is."""
    assert contents.over_budget(SIZES, budget, frozenset()) == []


@pytest.mark.parametrize(
    ("added", "since"), [(set(), ""), ({"click 8.4", "gone 1"}, "; new since the budget was set: click 8.4 0.5 MB")]
)
def test_a_size_beyond_its_budget_is_found(added: set[str], since: str) -> None:
    """With what is largest, and what has come."""
    (finding,) = contents.over_budget(SIZES, 51, frozenset(added))
    assert (finding.rule, finding.what) == (rules.OVER_BUDGET, "size-budget-mb")
    largest = "numpy 2.3 30.0 MB, the base image 20.0 MB, app/ 1.0 MB, click 8.4 0.5 MB"
    assert finding.why == f"51.5 MB, more than size-budget-mb = 51; the largest: {largest}{since}"
