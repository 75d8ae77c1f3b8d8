"""Environments whose files are links to uv's cache."""

from __future__ import annotations

from collections.abc import Mapping

from prodlock.origins import links
from prodlock.origins.findings import judge
from prodlock.origins.records import Kind, Subject, Wheel
from prodlock.tests.unit.origins.subjects import SITE, Contents, attributed, distribution, evidence, found, subject

CACHE = "/opt/uv/archive-v0/a1"
BASE = {"/usr/local/lib/python3.13/os.py": b"# os"}


def installed() -> tuple[Contents, Contents, Wheel]:
    """Return the files of a distribution in uv's cache, the links of an environment to them, and its wheel."""
    files, wheel = distribution("shop", "1.0", {"shop/__init__.py": b"x = 1\n", "shop/prices.py": b"y = 2\n"})
    cached = {path.replace(SITE, CACHE): content for path, content in files.items()}
    # uv writes what differs between environments into the environment.
    own = {path: content for path, content in files.items() if path.endswith(("/RECORD", "/INSTALLER"))}
    return cached, {path: f"-> {path.replace(SITE, CACHE)}".encode() for path in files} | own, wheel


def codes(*layers: Contents, wheel: Wheel) -> set[tuple[str, str]]:
    """Return code and path of each finding about the layers above a base image."""
    return found(evidence(links.followed(subject(BASE, *layers)), [wheel]))


def test_linked_files_are_those_of_the_wheel() -> None:
    """The cache is not reported where the environment needs it, and its bytes count once."""
    cached, linked, wheel = installed()
    image = links.followed(subject(BASE, cached, linked))
    assert found(evidence(image, [wheel])) == set()
    origins = {(file.path, origin.kind, file.size) for file, origin in attributed(evidence(image, [wheel])).files}
    assert (f"{SITE}/shop/prices.py", Kind.WHEEL, 0) in origins
    assert (f"{CACHE}/shop/prices.py", Kind.WHEEL, 6) in origins


def test_data_of_a_wheel_is_linked_from_another_folder() -> None:
    """The cache has a wheel's data where the wheel has it."""
    _, wheel = distribution("shop", "1.0", {"shop/a.py": b"x = 1\n", "shop-1.0.data/data/share/b.js": b"y = 2\n"})
    cached, linked, _ = installed()
    cached = dict(cached) | {f"{CACHE}/shop-1.0.data/data/share/b.js": b"y = 2\n"}
    linked = dict(linked) | {"/usr/local/share/b.js": f"-> {CACHE}/shop-1.0.data/data/share/b.js".encode()}
    paths = {path for _, path in codes(cached, linked, wheel=wheel)}
    assert not [path for path in paths if path.endswith(("b.js", "/share"))]


def test_environment_may_come_before_the_cache() -> None:
    """Instructions copy the two in either order."""
    cached, linked, wheel = installed()
    assert codes(linked, cached, wheel=wheel) == set()


def test_other_content_of_a_linked_file_is_found_in_its_layer() -> None:
    """Writing to a link writes to the file in the cache."""
    cached, linked, wheel = installed()
    edited = {f"{CACHE}/shop/prices.py": b"y = 3\n"}
    assert ("LS605", f"{SITE}/shop/prices.py") in codes(cached, linked, edited, wheel=wheel)
    layers = {one.path: one.layer for one in links.followed(subject(BASE, cached, linked, edited)).image.files}
    assert layers[f"{SITE}/shop/prices.py"] == 3


def test_link_to_a_file_that_no_wheel_has_is_found() -> None:
    """A cache may have anything."""
    cached, linked, wheel = installed()
    cached = dict(cached) | {f"{CACHE}/evil.py": b"import os\n"}
    linked = dict(linked) | {f"{SITE}/evil.py": f"-> {CACHE}/evil.py".encode()}
    assert {("LS606", f"{SITE}/evil.py"), ("LS606", f"{CACHE}/evil.py")} == codes(cached, linked, wheel=wheel)


def test_link_to_a_deleted_file_is_found() -> None:
    """Without its cache, the environment can't be imported."""
    cached, linked, wheel = installed()
    gone = {f"{CACHE}/shop/.wh.prices.py": b""}
    assert ("LS605", f"{SITE}/shop/prices.py") in codes(cached, linked, gone, wheel=wheel)


def test_link_that_a_later_layer_deletes_is_followed_in_its_own() -> None:
    """The distribution's commands and other files stay accounted for."""
    cached, linked, wheel = installed()
    info = f"{SITE}/shop-1.0.dist-info"
    assert {code for code, _ in codes(cached, linked, {f"{SITE}/.wh.shop-1.0.dist-info": b""}, wheel=wheel)} == {
        "LS604", "LS613",
    }  # fmt: skip
    image = links.followed(subject(BASE, cached, linked, {f"{info}/.wh.METADATA": b""}))
    assert f"{info}/METADATA" not in targets(image)


def test_rest_of_a_cache_is_a_leftover() -> None:
    """The finding states that a part of the cache is used."""
    cached, linked, wheel = installed()
    image = links.followed(subject(BASE, cached, linked, {"/opt/uv/wheels-v7/a.msgpack": b"x"}))
    given = evidence(image, [wheel])
    (one,) = judge(given, attributed(given), strict=False)
    assert (one.rule.code, one.path, one.files) == ("LS610", "/opt/uv/wheels-v7/a.msgpack", 1)
    assert one.why.endswith("an environment has links to other files of it, which must stay")


def test_cache_that_no_link_leads_to_is_a_leftover() -> None:
    """An environment of copies needs no cache."""
    cached, _, wheel = installed()
    copied = {path.replace(CACHE, SITE): content for path, content in cached.items()}
    assert {code for code, _ in codes(cached, copied, wheel=wheel)} == {"LS610"}


def test_links_elsewhere_stay_links() -> None:
    """A link that leads to no file of a cache, and one that is replaced."""
    cached, linked, _ = installed()
    others = {"/srv/a": b"-> /opt/b", "/srv/c": f"-> {CACHE}/none".encode()}
    image = links.followed(subject(BASE, cached, others))
    assert targets(image) == {"/srv/a": "/opt/b", "/srv/c": f"{CACHE}/none"}
    assert links.followed(subject(BASE, {"/srv/a": b"-> /opt/b"})).linked == frozenset()
    path = f"{SITE}/shop/prices.py"
    image = links.followed(subject(BASE, cached, linked, {path: b"z = 1\n"}, {f"{CACHE}/shop/prices.py": b"y = 3\n"}))
    assert [(one.layer, one.size) for one in image.image.files if one.path == path] == [(2, 0), (3, 6)]


def targets(image: Subject) -> Mapping[str, str]:
    """Return the links of an image."""
    return {file.path: file.target for file in image.image.files if file.target}
