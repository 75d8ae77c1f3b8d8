"""Locked wheels: which one an installed distribution is from, and what is in it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.inside.lock.selection import Requirement
from prodlock.origins import cache, index, wheels
from prodlock.origins.records import Installed, Member, Python, Wheel
from prodlock.tests.unit.origins.indexes import Served, packed, requirement, served, sha256, wheel

CP313 = ("cp313-cp313-manylinux_2_17_x86_64", "cp313-cp313-manylinux2014_x86_64")


@pytest.fixture
def one() -> Iterator[Served]:
    """An index."""
    with served() as found:
        yield found


@pytest.fixture
def two() -> Iterator[Served]:
    """Another index, on another host."""
    with served("127.0.0.2") as found:
        yield found


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing between attempts, and ask no proxy."""
    monkeypatch.setattr(index, "_PAUSES", (0.0, 0.0))
    monkeypatch.setenv("no_proxy", "*")


def settings(*addresses: str, logins: str = "") -> dict[str, str]:
    """Return the settings of a site with these indexes."""
    first, *more = addresses
    return {"INDEX_URL": first, "EXTRA_INDEX_URL": " ".join(more), "NETRC": logins, "CA_BUNDLE": ""}


def contents(tmp_path: Path, required: Requirement, *addresses: str, logins: str = "") -> Wheel:
    """Return the contents of the one wheel of a requirement."""
    digest = required.files[0][1].removeprefix("sha256:")
    found = wheels.contents(
        {digest: required}, lambda: settings(*addresses, logins=logins), tmp_path / "cache", lambda _: None
    )
    assert [*found] == [digest]
    return found[digest]


def refused(tmp_path: Path, required: Requirement, *addresses: str, logins: str = "") -> str:
    """Return the message of the refusal. Nothing of the wheel is cached."""
    with pytest.raises(Failure, match="To fix it: ") as failed:
        contents(tmp_path, required, *addresses, logins=logins)
    assert failed.value.code == CANNOT_CHECK
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    return str(failed.value)


def installed(*tags: str) -> Installed:
    """Return a distribution whose WHEEL has these tags."""
    return Installed("x", "1.0", "/site", "/site/x-1.0.dist-info", 1, False, frozenset(tags), {}, "pip")  # noqa: FBT003


@pytest.mark.parametrize(
    ("tags", "chosen"),
    [
        (("py3-none-any",), "x-1.0-py3-none-any.whl"),
        (("py2-none-any", "py3-none-any"), "x-1.0-py2.py3-none-any.whl"),
        (CP313, "x-1.0-cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"),
        (("cp313-cp313-musllinux_1_2_x86_64",), "x-1.0-cp313-cp313-musllinux_1_2_x86_64.whl"),
        # The compressed set of the file name on one line, as older maturin writes it.
        (
            ("cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64",),
            "x-1.0-cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        ),
        (("py2.py3-none-any",), "x-1.0-py2.py3-none-any.whl"),
        (("cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64",), None),
        # One of several tags.
        (("cp313-cp313-manylinux_2_17_x86_64",), "x-1.0-cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.whl"),
        # The file was renamed for its platform after the build.
        (("cp39-abi3-linux_x86_64",), "x-1.0-cp39-abi3-manylinux_2_28_x86_64.whl"),
        (("cp39-abi3-linux_aarch64",), "x-1.0-cp39-abi3-manylinux_2_28_aarch64.whl"),
        (("cp312-cp312-linux_x86_64",), None),
        (("cp313-cp313-win_amd64",), None),
        ((), None),
    ],
)
def test_the_tags_of_a_distribution_select_its_wheel(tags: tuple[str, ...], chosen: str | None) -> None:
    """No sdist, and none of another Python or platform."""
    files = [
        "x-1.0.tar.gz",
        "x-1.0-py3-none-any.whl",
        "x-1.0-py2.py3-none-any.whl",
        "x-1.0-cp313-cp313-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
        "x-1.0-cp313-cp313-manylinux2014_aarch64.manylinux_2_17_aarch64.whl",
        "x-1.0-cp313-cp313-musllinux_1_2_x86_64.whl",
        "x-1.0-cp39-abi3-manylinux_2_28_x86_64.whl",
        "x-1.0-cp39-abi3-manylinux_2_28_aarch64.whl",
        "x-1.0-cp39-abi3-musllinux_1_2_x86_64.whl",
    ]
    locked = Requirement("x", "1.0", tuple((file, f"sha256:{sha256(file.encode())}") for file in files))
    assert wheels.choose(installed(*tags), locked) == (chosen and sha256(chosen.encode()))


def test_of_equal_wheels_the_one_that_pip_prefers_is_chosen() -> None:
    """A build number, then the platform that is closer to the image's."""
    files = ("x-1.0-py3-none-any.whl", "x-1.0-2-py3-none-any.whl", "x-1.0-10b-py3-none-any.whl")
    assert wheels.choose(installed("py3-none-any"), Requirement("x", "1.0", _hashed(*files))) == _digit(2)
    pair = ("x-1.0-cp3-abi3-manylinux_2_5_x86_64.whl", "x-1.0-cp3-abi3-manylinux_2_28_x86_64.whl")
    assert wheels.choose(installed("cp3-abi3-linux_x86_64"), Requirement("x", "1.0", _hashed(*pair))) == _digit(1)


@pytest.mark.parametrize(
    ("tag", "expected"),
    [
        ("py3-none-any", True),
        ("py2.py3-none-any", True),
        ("cp313-cp313-manylinux_2_17_x86_64.manylinux2014_x86_64", True),
        ("cp39-abi3-manylinux_2_28_x86_64", True),
        ("py3-none-manylinux1_x86_64", True),
        ("cp313-cp313-linux_x86_64", True),
        ("cp312-cp312-manylinux_2_17_x86_64", False),
        ("cp313-cp313t-manylinux_2_17_x86_64", False),
        ("cp314-abi3-manylinux_2_17_x86_64", False),
        ("cp313-cp313-manylinux_2_17_aarch64", False),
        ("cp313-cp313-musllinux_1_2_x86_64", False),
        ("cp313-cp313-macosx_11_0_x86_64", False),
        ("cp313-cp313-win_amd64", False),
        ("pp310-pypy310_pp73-manylinux_2_17_x86_64", False),
    ],
)
def test_a_wheel_is_for_an_interpreter_and_a_platform(tag: str, expected: bool) -> None:  # noqa: FBT001
    """Of another version, machine or C library, the image can't import it."""
    python = Python("3.13.5", "/usr/local/lib/python3.13", {"platform_machine": "x86_64"})
    assert wheels.fits(f"x-1-{tag}.whl", python, is_musl=False) is expected
    assert wheels.fits("x-1-cp313-cp313-musllinux_1_2_x86_64.whl", python, is_musl=True)
    assert not wheels.fits("x-1-cp313-cp313-manylinux_2_17_x86_64.whl", python, is_musl=True)


def test_arm_and_free_threading_have_wheels_of_their_own() -> None:
    """The names of the machine and of the interpreter."""
    arm = Python("3.13.0rc1", "/usr/local/lib/python3.13", {"platform_machine": "armv7l"})
    assert wheels.fits("x-1-cp313-cp313-linux_armv6l.whl", arm, is_musl=False)
    free = Python("3.13.5", "/usr/local/lib/python3.13t", {"platform_machine": "aarch64"})
    assert wheels.fits("x-1-cp313-cp313t-manylinux_2_17_aarch64.whl", free, is_musl=False)
    assert not wheels.fits("x-1-cp313-cp313-manylinux_2_17_aarch64.whl", free, is_musl=False)


@pytest.mark.parametrize(
    ("machine", "is_musl", "chosen"),
    [("x86_64", False, 2), ("aarch64", False, 3), ("x86_64", True, 4), ("aarch64", True, None)],
)
def test_a_wheel_that_was_renamed_is_chosen_by_the_platform(machine: str, is_musl: bool, chosen: int | None) -> None:  # noqa: FBT001
    """As playwright's, in which WHEEL has the tag `py3-none-any`: that selects none."""
    platforms = (
        "macosx_11_0_arm64",
        "win_amd64",
        "manylinux1_x86_64",
        "manylinux_2_17_aarch64",
        "musllinux_1_2_x86_64",
    )
    files = [f"x-1.0-py3-none-{one}.whl" for one in platforms]
    locked = Requirement("x", "1.0", (*_hashed(*files), ("x-1.0.tar.gz", f"sha256:{_digit(9)}")))
    python = Python("3.13.5", "/usr/local/lib/python3.13", {"platform_machine": machine})
    assert wheels.choose(installed("py3-none-any"), locked) is None
    assert wheels.fitting(locked, python, is_musl=is_musl) == (chosen and _digit(chosen))


def test_only_a_sha256_selects() -> None:
    """A wheel with another hash can't be accepted."""
    locked = Requirement("x", "1.0", (("x-1.0-py3-none-any.whl", "md5:" + "0" * 32),))
    assert wheels.choose(installed("py3-none-any"), locked) is None


def test_another_build_has_another_wheel_file() -> None:
    """Its tags may be those of a wheel of the lock."""
    member = Member(sha256(b"Wheel-Version: 1.0"), 18)
    found = Wheel("x", "1.0", "x-1.0-py3-none-any.whl", "0" * 64, {"x-1.0.dist-info/WHEEL": member})
    assert wheels.is_build_of(found, "/site/x-1.0.dist-info", sha256(b"Wheel-Version: 1.0"))
    assert not wheels.is_build_of(found, "/site/x-1.0.dist-info", sha256(b"Wheel-Version: 1.0\nGenerator: x"))
    assert not wheels.is_build_of(found, "/site/x-1.0.egg-info", "")


def _digit(number: int) -> str:
    return str(number) * 64


def _hashed(*files: str) -> tuple[tuple[str, str], ...]:
    return tuple((file, f"sha256:{_digit(number)}") for number, file in enumerate(files))


@pytest.mark.parametrize("form", ["json", "html"])
@pytest.mark.parametrize("has_hashes", [True, False])
def test_a_wheel_is_read_and_cached(tmp_path: Path, one: Served, form: str, has_hashes: bool) -> None:  # noqa: FBT001
    """With its members, its commands, and the text of each script behind the first line."""
    info = "x-1.0.dist-info"
    script = "print(1)\n"
    content = wheel(
        "x",
        members={
            "x/empty.py": "",
            "x-1.0.data/scripts/tool": f"#!python\n{script}",
            "x-1.0.data/scripts/binary": "\x7fELF",
            "x/notes.sh": "#!python\nx\n",
            f"{info}/entry_points.txt": (
                "[console_scripts]\nrun = x.cli:main [fast]\nRun-2=x:App.go\n[gui_scripts]\ng=x\n[x]\ny = z\n"
            ),
        },
    )
    one.form, one.has_hashes = form, has_hashes
    one.add("x", b"another", "x-0.9-py3-none-any.whl")
    one.add("x", content)
    found = contents(tmp_path, requirement("x", content), one.address)
    assert (found.name, found.version, found.file) == ("x", "1.0", "x-1.0-py3-none-any.whl")
    assert found.sha256 == sha256(content)
    assert found.members["x.py"] == (sha256(b"NAME = 'x'\n"), 11, "")
    assert found.members["x/empty.py"] == (sha256(b""), 0, "")
    assert found.members["x-1.0.data/scripts/tool"].body == sha256(script.encode())
    assert found.members["x-1.0.data/scripts/tool"].sha256 == sha256(f"#!python\n{script}".encode())
    assert {path for path, member in found.members.items() if member.body} == {"x-1.0.data/scripts/tool"}
    assert found.commands == {"run": "x.cli:main", "Run-2": "x:App.go", "g": "x:"}
    one.asked.clear()
    # The settings are not asked for either.
    again = wheels.contents({found.sha256: requirement("x", content)}, dict, tmp_path / "cache", lambda _: None)
    assert again == {found.sha256: found}
    assert not one.asked


def test_a_full_cache_needs_no_network(tmp_path: Path, one: Served) -> None:
    """The second run asks nothing; its control is a run with an empty cache."""
    content = wheel("x")
    one.add("x", content)
    contents(tmp_path, requirement("x", content), one.address)
    with socket.create_server(("127.0.0.1", 0)) as unused:
        gone = f"http://127.0.0.1:{unused.getsockname()[1]}/simple"
    assert contents(tmp_path, requirement("x", content), gone).name == "x"
    message = refused(tmp_path / "other", requirement("x", content), gone)
    assert message.startswith(gone.removeprefix("http://").removesuffix("/simple") + " must answer")
    assert "refused" in message


@pytest.mark.parametrize("damage", ["cut", "changed", "emptied", "another form"])
def test_a_damaged_entry_of_the_cache_is_read_again(tmp_path: Path, one: Served, damage: str) -> None:
    """It is neither believed nor an error."""
    content = wheel("x")
    one.add("x", content)
    found = contents(tmp_path, requirement("x", content), one.address)
    (entry,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    held = entry.read_bytes()
    if damage == "another form":
        cache.write(tmp_path / "cache", "wheels-1", found.sha256, {"members": [1]})
    else:
        forms = {"cut": held[:-9], "changed": held.replace(b'"x.py"', b'"y.py"'), "emptied": b""}
        entry.write_bytes(forms[damage])
    assert entry.read_bytes() != held
    assert contents(tmp_path, requirement("x", content), one.address) == found
    assert entry.read_bytes() == held


def test_a_cache_that_can_not_be_written_is_accepted(tmp_path: Path, one: Served) -> None:
    """It only saves time."""
    content = wheel("x")
    one.add("x", content)
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    assert contents(tmp_path, requirement("x", content), one.address).name == "x"


@pytest.mark.parametrize("has_hashes", [True, False])
def test_another_file_of_the_name_is_refused(tmp_path: Path, one: Served, has_hashes: bool) -> None:  # noqa: FBT001
    """Whether or not the page of the index has the sha256 of the lock."""
    content, forged = wheel("x"), wheel("x", members={"evil.py": ""})
    one.has_hashes = has_hashes
    one.add("x", content)
    one.changed["x-1.0-py3-none-any.whl"] = forged
    message = refused(tmp_path, requirement("x", content), one.address)
    assert f"must have the sha256 {sha256(content)} of the lock (got {sha256(forged)}" in message


def test_a_wheel_may_have_an_address_of_its_own(tmp_path: Path, one: Served) -> None:
    """No index lists it. Another content is refused, and so is an address that does not answer."""
    content = wheel("x")
    one.add("x", content)
    index, place = "http://127.0.0.1:1", f"{one.address.removesuffix('/simple')}/files"
    linked = requirement("x", content)._replace(link=f"{place}/x-1.0-py3-none-any.whl")
    assert contents(tmp_path, linked, index).members["x.py"]
    absent = refused(tmp_path / "other", linked._replace(link=f"{place}/y.whl"), index)
    assert "must be a file that can be downloaded" in absent
    one.changed["x-1.0-py3-none-any.whl"] = wheel("x", members={"evil.py": ""})
    assert f"must have the sha256 {sha256(content)} of the lock" in refused(tmp_path / "other", linked, index)


def test_a_wheel_may_be_beside_the_lock(tmp_path: Path) -> None:
    """Another content is refused."""
    content, file = wheel("x"), tmp_path / "x-1.0-py3-none-any.whl"
    file.write_bytes(content)
    linked = requirement("x", content)._replace(link=str(file))
    assert contents(tmp_path, linked, "http://127.0.0.1:1").members["x.py"]
    file.write_bytes(wheel("x", members={"evil.py": ""}))
    assert f"must have the sha256 {sha256(content)} of the lock" in refused(tmp_path / "other", linked, "http://[")


def test_a_wheel_that_no_index_has_is_named(tmp_path: Path, one: Served, two: Served) -> None:
    """With the indexes that were asked, without their logins."""
    one.login = "user:secret-1"
    one.add("x", b"other")
    message = refused(tmp_path, requirement("x", wheel("x")), one.with_login, two.address)
    assert "must have x-1.0-py3-none-any.whl, which the lock names" in message
    assert one.address in message
    assert two.address in message
    assert "secret" not in message
    # Where the index lists it, and has no longer the file.
    two.add("x", wheel("x"))
    two.codes = [200, 404]
    assert "must answer" not in refused(tmp_path, requirement("x", wheel("x")), one.with_login)


def test_further_indexes_are_asked(tmp_path: Path, one: Served, two: Served) -> None:
    """Those of the requirement first; one that does not answer decides nothing where another has the wheel."""
    content = wheel("x")
    two.add("x", content)
    assert contents(tmp_path / "a", requirement("x", content), one.address, two.address).name == "x"
    assert [path for path, _ in one.asked] == ["/simple/x/"]
    one.asked.clear()
    assert contents(tmp_path / "b", requirement("x", content, address=two.address), one.address).name == "x"
    assert not one.asked
    one.codes = [403]
    assert contents(tmp_path / "c", requirement("x", content), one.address, two.address).name == "x"


def test_logins_go_to_their_own_host_alone(tmp_path: Path, one: Served, two: Served) -> None:
    """Files on another host, and redirects to it, get none."""
    content = wheel("x")
    one.login = "user:secret 1"
    address = one.address.replace("://", "://user:secret%201@")
    one.add("x", content)
    assert contents(tmp_path / "a", requirement("x", content), address).name == "x"
    assert all(login for _, login in one.asked)
    # The page is on one host, the file on another.
    one.elsewhere = two.address.removesuffix("/simple")
    two.add("x", content)
    assert contents(tmp_path / "b", requirement("x", content), address).name == "x"
    assert [login for _, login in two.asked] == [None]
    # A redirect of everything.
    two.asked.clear()
    one.elsewhere, one.redirected = "", two.address.removesuffix("/simple")
    assert contents(tmp_path / "c", requirement("x", content), address).name == "x"
    assert {login for _, login in two.asked} == {None}
    assert [path for path, _ in two.asked] == ["/simple/x/", "/simple/files/x-1.0-py3-none-any.whl"]


def test_logins_are_those_of_netrc(tmp_path: Path, one: Served) -> None:
    """And of an index on the same host, for the address that a lock names without a login."""
    content = wheel("x")
    one.login = "user:secret"
    one.add("x", content)
    logins = tmp_path / "netrc"
    logins.write_text("machine 127.0.0.1 login user password secret\n", encoding="utf-8")
    assert contents(tmp_path / "a", requirement("x", content), one.address, logins=str(logins)).name == "x"
    required = requirement("x", content, address=one.address)
    assert contents(tmp_path / "b", required, "http://127.0.0.3:1/simple", one.with_login).name == "x"


def test_a_wrong_login_is_explained_and_not_printed(tmp_path: Path, one: Served) -> None:
    """In one message."""
    one.login = "user:secret"
    one.add("x", wheel("x"))
    message = refused(tmp_path, requirement("x", wheel("x")), one.address.replace("://", "://user:wrong@"))
    assert "must accept the login (got 401" in message
    assert "wrong" not in message
    assert len(one.asked) == 1


def test_an_overloaded_index_is_asked_again(tmp_path: Path, one: Served) -> None:
    """Three times, and not for ever."""
    content = wheel("x")
    one.add("x", content)
    one.codes = [503, 429]
    assert contents(tmp_path / "a", requirement("x", content), one.address).name == "x"
    one.codes = [500] * 9
    assert "must answer with what the lock names" in refused(tmp_path / "b", requirement("x", content), one.address)
    assert len(one.codes) == 6


@pytest.mark.parametrize("page", [b"{", b"[]", b'{"files": [{}]}', b'{"files": [{"filename": "x", "url": 1}]}'])
def test_a_page_that_can_not_be_read_is_refused(
    tmp_path: Path, one: Served, page: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it holds."""
    one.add("x", b"")
    monkeypatch.setattr(Served, "page", lambda *_: (page, "application/vnd.pypi.simple.v1+json"))
    assert "a page that can't be read" in refused(tmp_path, requirement("x", wheel("x")), one.address)


@pytest.mark.parametrize(
    "content",
    [b"no archive", wheel("x")[:-30], packed({"x-1.0.dist-info/entry_points.txt": "no section"})],
    ids=["no archive", "cut", "entry points"],
)
def test_a_file_that_is_not_a_wheel_is_refused(tmp_path: Path, one: Served, content: bytes) -> None:
    """Though its sha256 is that of the lock."""
    one.add("x", content)
    assert "x-1.0-py3-none-any.whl must be a wheel" in refused(tmp_path, requirement("x", content), one.address)


@pytest.mark.parametrize("address", ["http://127.0.0.1:port", "file:///etc", "http://[", "http://127.0.0.1:1/\u00e4 b"])
def test_an_address_that_can_not_be_asked_is_refused(tmp_path: Path, one: Served, address: str) -> None:
    """A page may name any."""
    one.add("x", wheel("x"))
    one.elsewhere = address
    assert " must answer with what the lock names" in refused(tmp_path, requirement("x", wheel("x")), one.address)
    one.elsewhere, one.redirected = "", address
    assert " must answer with what the lock names" in refused(tmp_path, requirement("x", wheel("x")), one.address)


def test_many_wheels_are_read_in_parallel(tmp_path: Path, one: Served) -> None:
    """With their state; one that is missing ends the others."""
    every = {f"x{number}": wheel(f"x{number}") for number in range(30)}
    for name, content in every.items():
        one.add(name, content)
    needed = {sha256(content): requirement(name, content) for name, content in every.items()}
    states: list[str] = []
    found = wheels.contents(needed, lambda: settings(one.address), tmp_path / "cache", states.append)
    assert {wheel.name for wheel in found.values()} == every.keys()
    assert states[-1].startswith("Locked wheels: 30 of 30, ")
    del one.files["x7"]
    with pytest.raises(Failure, match="must have x7-1"):
        wheels.contents(needed, lambda: settings(one.address), tmp_path / "other", states.append)


def test_files_without_a_name_are_identified_by_the_index(tmp_path: Path, one: Served) -> None:
    """Requirements in pip's format have hashes alone: the names are those of the index, and cached."""
    content, other = wheel("x"), b"the sdist"
    one.add("x", content)
    one.add("x", other, "x-1.0.tar.gz")
    one.add("x", b"of another version", "x-2.0-py3-none-any.whl")
    unnamed = Requirement("x", "1.0", tuple(("", f"sha256:{sha256(one)}") for one in (other, content, b"deleted")))
    named = requirement("y", content)
    # From the index, then from the cache.
    for address in (one.address, "http://127.0.0.3:1/simple"):
        site = partial(settings, address)
        found = wheels.identify([unnamed, named], site, tmp_path / "cache", lambda _: None)
        assert [file for file, _ in found["x"].files] == ["x-1.0.tar.gz", "x-1.0-py3-none-any.whl", ""]
        assert found["y"] == named
        assert wheels.choose(installed("py3-none-any"), found["x"]) == sha256(content)
    absent = Requirement("x", "1.0", (("", f"sha256:{'0' * 64}"),))
    with pytest.raises(Failure, match=r"must have a file of x 1\.0, which the lock names"):
        wheels.identify([absent], lambda: settings(one.address), tmp_path / "cache", lambda _: None)


def test_a_setting_that_is_not_valid_can_not_be_verified(tmp_path: Path) -> None:
    """It has the exit code of evidence that is missing."""

    def broken() -> dict[str, str]:
        message = "NETRC must be a readable file. To fix it: correct it."
        raise Failure(message)

    with pytest.raises(Failure) as failed:
        wheels.contents({"0" * 64: requirement("x", b"")}, broken, tmp_path, lambda _: None)
    assert failed.value.code == CANNOT_CHECK


def test_the_cache_is_in_the_folder_of_the_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG's on Linux, or what the user has set."""
    monkeypatch.setattr(Path, "home", lambda: Path("/home/user"))
    for platform, expected in {
        "linux": Path("/home/user/.cache/prodlock"),
        "darwin": Path("/home/user/Library/Caches/prodlock"),
        "win32": Path("/home/user/AppData/Local/prodlock/Cache"),
    }.items():
        monkeypatch.setattr("sys.platform", platform)
        assert cache.folder({}) == expected
    monkeypatch.setattr("sys.platform", "linux")
    assert cache.folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "prodlock"


def test_the_default_index_is_pips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pip, INDEX_URL must be set; the control is an address of pip's."""
    monkeypatch.setattr(index, "default_index", lambda: "https://index.example/simple")
    assert index.Index({}).addresses("") == ["https://index.example/simple"]
    monkeypatch.setattr(index, "default_index", str)
    with pytest.raises(Failure, match="INDEX_URL must be the address") as refused:
        index.Index({})
    assert refused.value.code == CANNOT_CHECK
