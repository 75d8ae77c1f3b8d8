"""The closed world: what is promised is there, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from ops import causes, world
from ops.records import File, Image, Layer
from ops.world import Promised

SITE = "/opt/venv/lib/python3.13/site-packages"


def digest(content: bytes) -> str:
    """Return the sha256 of some content."""
    return hashlib.sha256(content).hexdigest()


def promise(
    path: str, content: bytes = b"", *, mode: int = 0o644, source: str = "h11 0.16", required: bool = True
) -> Promised:
    """Return the promise of a file."""
    return Promised(path, "file", mode, digest(content), len(content), (0, 0), source, required)


def folder(path: str, mode: int = 0o755) -> Promised:
    """Return the promise of a folder."""
    return Promised(path, "folder", mode, "", 0, (0, 0), "the base image", required=False)


PROMISED = [
    folder("/opt"), folder("/opt/venv"), folder("/srv"), folder("/srv/app"), folder("/tmp", 0o1777), folder("/etc"),
    promise(f"{SITE}/h11/__init__.py", b"h11"),
    promise("/srv/app/main.py", b"app", source="app/"),
    promise("/usr/bin/bash", b"bash", mode=0o755, source="the base image", required=False),
    promise("/etc/shadow", b"x", mode=0o640, source=world.BASE, required=False)._replace(owner=(0, 42)),
    promise("/etc/passwd", b"of the base image", source="the base image", required=False),
    promise("/etc/passwd", b"of the build", source="the build"),
    Promised("/opt/venv/bin/python", "link", 0o777, "/usr/local/bin/python3", 0, (0, 0), "venv", required=True),
]  # fmt: skip
WORLD = world.world_from(PROMISED)


def file(path: str, content: bytes = b"", **more: object) -> File:
    """Return a regular file of the second layer."""
    return File(path, 1, len(content), 0o644, sha256=digest(content))._replace(**more)  # type: ignore[arg-type]


CLEAN = [
    File("/opt", mode=0o755, directory=True),
    File("/tmp", mode=0o1777, directory=True),
    file(f"{SITE}/h11/__init__.py", b"h11", layer=0),
    file("/srv/app/main.py", b"app", layer=0),
    file("/etc/passwd", b"of the build", layer=0),
    File("/opt/venv/bin/python", mode=0o777, target="/usr/local/bin/python3"),
]


def image(*planted: File) -> Image:
    """Return a clean image with more in its second layer."""
    layers = (Layer("sha256:0", "COPY prod"), Layer("sha256:1", "RUN more"))
    return Image("x:1", layers, {}, {}, (), (*CLEAN, *planted))


def found(*planted: File, rules: tuple[world.Rule, ...] = world.RULES) -> list[tuple[str, str]]:
    """Return where something is found, and why."""
    return [(one.path, one.why) for one in world.unaccounted(image(*planted), WORLD, rules)]


LEAKS: dict[str, tuple[File, str]] = {
    "a file of nobody's": (file("/opt/x.py"), "neither the lock, nor app/, nor the base image has it"),
    "an empty folder": (File("/opt/pytest", 1, mode=0o755, directory=True), "neither the lock"),
    "a whiteout": (file("/opt/.wh.secret"), "deletes what a layer below still holds: secret"),
    "an edited file": (file(f"{SITE}/h11/__init__.py", b"h11 "), "not, byte for byte, what h11 0.16 has there"),
    "an older app": (file("/srv/app/main.py", b"old"), "not, byte for byte, what app/ has there"),
    "a link in a file's place": (File("/srv/app/main.py", 1, target="/tmp/x"), "a link, which must be a file"),
    "a file in a link's place": (file("/opt/venv/bin/python"), "a file, which must be a link"),
    "a link elsewhere": (File("/opt/venv/bin/python", 1, target="/opt/x"), "a link to /opt/x, which must lead to /usr"),
    "a setuid program": (file("/usr/bin/bash", b"bash", mode=0o4755), "permissions 4755"),
    "what all may write": (file("/srv/app/main.py", b"app", mode=0o666), "permissions 666"),
    "a folder that all may write": (File("/opt", 1, mode=0o777, directory=True), "permissions 777"),
    "a sticky folder elsewhere": (File("/etc", 1, mode=0o1777, directory=True), "permissions 1777"),
    "a module made executable": (file(f"{SITE}/h11/__init__.py", b"h11", mode=0o755), "executable, and must not be"),
    "what the service can't read": (file("/srv/app/main.py", b"app", mode=0o600), "permissions 600 keep the service"),
    "a closed folder": (File("/srv/app", 1, mode=0o700, directory=True), "permissions 700 keep the service out"),
    "another owner": (file("/srv/app/main.py", b"app", owner=(10001, 0)), "owned by 10001:0, not by root"),
    "an extended attribute": (file("/usr/bin/bash", b"bash", mode=0o755, extra="SCHILY.xattr.user.x"), "it has SCHILY"),
}


def test_a_clean_image_has_no_findings() -> None:
    """All that is promised, and no more."""
    assert found() == []


def test_what_is_not_needed_may_be_there_unchanged() -> None:
    """Of the base image not everything has to be there; where build and base differ, either is legal."""
    shadow = file("/etc/shadow", b"x", mode=0o640, owner=(0, 42))
    assert found(file("/usr/bin/bash", b"bash", mode=0o755), file("/etc/passwd", b"of the base image"), shadow) == []


@pytest.mark.parametrize("kind", LEAKS)
def test_a_leak_is_found(kind: str) -> None:
    """Where it is, with its reason and the instruction of its layer."""
    planted, why = LEAKS[kind]
    (finding,) = world.unaccounted(image(planted), WORLD)
    assert finding.path == planted.path
    assert finding.why.startswith(why)
    assert (finding.instruction, finding.layer) == ("RUN more", 1)


@pytest.mark.parametrize("rule", world.RULES, ids=lambda rule: rule.__name__)
def test_without_a_rule_a_leak_is_missed(rule: Callable[[File, world.World], str]) -> None:
    """Each rule finds what no other does, or says why better: to switch it off makes a test above fail."""
    others = tuple(other for other in world.RULES if other is not rule)
    heard = [(found(planted, rules=others), why) for planted, why in LEAKS.values()]
    assert any(not findings or not findings[0][1].startswith(why) for findings, why in heard)


def test_a_folder_of_nobodys_is_one_finding() -> None:
    """With all that is in it, at its topmost."""
    planted = [File("/opt/x", 1, mode=0o755, directory=True), file("/opt/x/a.py"), file("/opt/x/b/c.py")]
    (finding,) = world.unaccounted(image(*planted), WORLD)
    assert (finding.what, finding.path, finding.files) == ("folder", "/opt/x", 2)


def test_a_leak_below_another_layer_is_found() -> None:
    """What a later layer covers still travels in the image."""
    covered = file("/srv/app/main.py", b"secret", layer=0)
    assert found(covered, file("/srv/app/main.py", b"app"))[0][0] == "/srv/app/main.py"


@pytest.mark.parametrize(
    ("planted", "gone"),
    [
        ((), []),
        ((file("/srv/app/.wh.main.py"),), ["/srv/app/main.py"]),
        ((file("/srv/.wh.app"),), ["/srv/app/main.py"]),
        ((file("/srv/app/.wh..wh..opq"),), ["/srv/app/main.py"]),
        ((file("/srv/app/.wh..wh..opq"), file("/srv/app/main.py", b"app")), []),
        ((file("/srv/app/.wh.main.py", layer=0), file("/srv/app/main.py", b"app")), []),
    ],
    ids=["nothing", "a file", "a folder", "a folder's content", "replaced in the same layer", "brought back"],
)
def test_what_must_be_there_is_missed(planted: tuple[File, ...], gone: list[str]) -> None:
    """In what a container would see."""
    assert [one.path for one in world.missing(image(*planted), WORLD)] == gone


def test_what_is_missed_of_one_folder_is_one_finding() -> None:
    """A whole distribution that is not there is not a hundred findings."""
    more = world.world_from(
        [*PROMISED, promise(f"{SITE}/x/a.py", source="x 1"), promise(f"{SITE}/x/b.py", source="x 1")]
    )
    (finding,) = world.missing(image(), more)
    assert (finding.what, finding.path, finding.files) == ("files", f"{SITE}/x", 2)


def test_a_name_that_looks_packed_hides_nothing() -> None:
    """Whoever calls a folder `x!` has it judged like any other."""
    assert found(file("/opt/x!/secret", b"x"))[0][0] == "/opt/x!"


def test_what_is_packed_into_a_promised_file_is_promised() -> None:
    """Only the file itself is compared."""
    assert found(file("/usr/bin/bash!/content", b"x", packed=True)) == []


def test_dev_and_prod_share_what_both_have() -> None:
    """A difference means that something else was tested than what ships."""
    dev = [
        file("/srv/app/main.py", b"app"),
        file("/srv/tests/x.py", b"test"),
        file(f"{SITE}/h11/__init__.py", b"other"),
    ]
    (finding,) = world.differing(image().files, dev)
    assert finding.path == f"{SITE}/h11/__init__.py"


def test_the_base_image_is_told_apart() -> None:
    """By what it has at a path; the build and the wheels are no part of it."""
    assert WORLD.base("/etc/passwd") == {digest(b"of the base image")}
    assert WORLD.base("/srv/app/main.py") == set()


def test_what_is_brought_is_of_a_path_and_a_content() -> None:
    """Neither alone; and what is the project's own is looked into."""
    path = f"{SITE}/h11/__init__.py"
    (wheels,) = WORLD.at(path)
    assert WORLD.brought(path, wheels.content)
    assert not WORLD.brought(path, digest(b"other"))
    assert not WORLD.brought("/elsewhere", wheels.content)
    (app,) = WORLD.at("/srv/app/main.py")
    assert not WORLD.brought("/srv/app/main.py", app.content)


def test_sizes_are_told_by_source() -> None:
    """The largest first, and what nobody promises as well."""
    sizes = world.sizes(image(file("/opt/x", b"x" * 100)), WORLD)
    assert list(sizes) == ["unaccounted", "the build", "h11 0.16", "app/", "venv"]
    assert sizes["unaccounted"] == 100


SIZES = {"numpy 2.3": 30_000_000, "the base image": 20_000_000, "app/": 1_000_000, "click 8.4": 500_000}


@pytest.mark.parametrize("budget", [None, 51.5, 60])
def test_a_size_within_its_budget_is_no_finding(budget: float | None) -> None:
    """Nor is any, where there is none."""
    assert world.over_budget(SIZES, budget, frozenset()) == []


@pytest.mark.parametrize(
    ("came", "since"), [(set(), ""), ({"click 8.4", "gone 1"}, "; new since the budget was set: click 8.4 0.5 MB")]
)
def test_a_size_beyond_its_budget_is_found(came: set[str], since: str) -> None:
    """With what is largest, and what has come."""
    (finding,) = world.over_budget(SIZES, 51, frozenset(came))
    assert finding.what == "more than 51 MB"
    largest = "numpy 2.3 30.0 MB, the base image 20.0 MB, app/ 1.0 MB, click 8.4 0.5 MB"
    assert finding.why == f"51.5 MB, of which {largest}{since}"


@pytest.mark.parametrize(
    ("path", "why", "told"),
    [
        ("/srv/tests", "neither the lock, nor app/ has it", "COPY . ."),
        ("/srv/app/x.py", "neither the lock, nor app/ has it", "git does not have"),
        ("/root/.cache", "neither the lock", "cache mount"),
        ("configuration", "a secret that everyone can read", "build secret"),
        ("/opt/x", "neither", "too many"),
    ],
)
def test_a_finding_has_its_usual_cause(path: str, why: str, told: str) -> None:
    """What to do about it."""
    assert told in causes.usual(path, why)
