"""Files of Debian packages are found by dpkg's records, with their MD5 sums."""

from __future__ import annotations

import hashlib

import pytest

from prodlock.origins import debian
from prodlock.origins.records import Package
from prodlock.tests.unit.origins.subjects import Contents, subject

INFO = "/var/lib/dpkg/info"
CURL = Package("curl", "8.1-2")


def status(version: str = "8.1-2", state: str = "install ok installed", conffiles: str = "") -> bytes:
    """Return a status file with one package."""
    text = (
        f"Package: curl\nStatus: {state}\nArchitecture: amd64\nVersion: {version}\n{conffiles}Description: x\n more\n"
    )
    return f"{text}\nPackage: dpkg\nStatus: {state}\nArchitecture: amd64\nVersion: 1\n".encode()


def md5(content: bytes) -> str:
    """Return the MD5 sum of a content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def package(name: str = "curl", version: str = "8.1-2") -> dict[str, bytes]:
    """Return the files of an installed package with its records."""
    conffiles = f"Conffiles:\n /etc/curlrc {md5(b'setting')}\n"
    sums = f"{md5(b'program')}  usr/bin/curl\n{md5(b'library')}  lib/libcurl.so.4\n"
    names = "/.\n/usr\n/usr/bin\n/usr/bin/curl\n/lib/libcurl.so.4\n/usr/lib/libcurl.so\n/etc/curlrc\n/usr/share/new\n"
    return {
        "/usr/bin/curl": b"program",
        "/usr/lib/libcurl.so.4": b"library",
        "/usr/lib/libcurl.so": b"-> libcurl.so.4",
        "/etc/curlrc": b"setting",
        f"{INFO}/{name}.list": names.encode(),
        f"{INFO}/{name}.md5sums": sums.encode(),
        "/var/lib/dpkg/status": status(version, conffiles=conffiles),
    }


def found(*layers: Contents, base_layers: int = 1) -> dict[str, Package]:
    """Return the packages of files by path, and by layer where it is above the first."""
    packages = debian.files(subject(*layers, base_layers=base_layers))
    return {path if layer == base_layers else f"{layer} {path}": one for (layer, path), one in packages.items()}


@pytest.mark.parametrize("name", ["curl", "curl:amd64"])
def test_files_links_settings_and_records_are_the_packages(name: str) -> None:
    """Also where /lib is a link into /usr."""
    files = package(name)
    expected = dict.fromkeys(files, CURL) | {"/var/lib/dpkg/status": Package("dpkg", "1")}
    assert found({}, files) == expected


def test_the_files_of_the_base_image_are_left_out() -> None:
    """They have another origin."""
    assert found(package(), {"/usr/bin/other": b"x"}) == {}


@pytest.mark.parametrize("path", ["/usr/bin/curl", "/usr/lib/libcurl.so.4", "/etc/curlrc"])
def test_a_file_with_another_md5_sum_is_left_out(path: str) -> None:
    """The package does not have this content."""
    packages = found({}, package() | {path: b"forged"})
    assert path not in packages
    assert len(packages) == len(package()) - 1


def test_a_listed_file_without_an_md5_sum_is_left_out() -> None:
    """Of a package that has sums; without any, dpkg's list is all that there is."""
    files = package() | {"/usr/share/new": b"new"}
    assert "/usr/share/new" not in found({}, files)
    del files[f"{INFO}/curl.md5sums"]
    assert found({}, files)["/usr/share/new"] == CURL


def test_a_file_that_no_package_lists_is_left_out() -> None:
    """Beside a package's files."""
    assert "/usr/bin/curly" not in found({}, package() | {"/usr/bin/curly": b"program"})


def test_each_layer_is_compared_with_the_records_of_its_time() -> None:
    """A later layer installs another version, and a still later one replaces a file."""
    new = package(version="9.0-1") | {"/usr/bin/curl": b"new"}
    new[f"{INFO}/curl.md5sums"] = f"{md5(b'new')}  usr/bin/curl\n".encode()
    packages = found({}, package(), new, {"/usr/bin/curl": b"forged"}, {"/usr/bin/curl": b"new"})
    assert packages["/usr/bin/curl"] == CURL
    assert packages["2 /usr/bin/curl"] == packages["4 /usr/bin/curl"] == Package("curl", "9.0-1")
    assert "3 /usr/bin/curl" not in packages


def test_records_of_the_base_image_count_for_later_layers() -> None:
    """A later layer that only changes permissions has a copy of the file."""
    assert found(package(), {"/usr/bin/curl": b"program"}) == {"/usr/bin/curl": CURL}
    assert found(package(), {"/usr/bin/curl": b"forged"}) == {}


def test_a_removed_package_has_no_later_files() -> None:
    """Its settings stay until it is purged; its earlier files are still in the layer below."""
    removed = {"/var/lib/dpkg/status": status(state="deinstall ok config-files")}
    packages = found({}, package(), removed)
    assert packages["/usr/bin/curl"] == CURL


def test_packages_without_dpkg_are_found() -> None:
    """Images that have no dpkg keep a file of each package in status.d."""
    files = {
        "/usr/bin/curl": b"program",
        "/var/lib/dpkg/status.d/curl": b"Package: curl\nVersion: 8.1-2\n",
        "/var/lib/dpkg/status.d/curl.md5sums": f"{md5(b'program')}  usr/bin/curl\n".encode(),
        "/usr/bin/other": b"other",
    }
    assert found({}, files)["/usr/bin/curl"] == CURL
    assert "/usr/bin/other" not in found({}, files)
    records = [path for path in files if "/status.d/" in path]
    assert {found({}, files).get(path) for path in records} == {CURL}
    # Only what names a package is its record.
    others = {"/var/lib/dpkg/status.d/more": b"x = 1\n", "/var/lib/dpkg/status.d/run": b"#!/bin/sh\nPackage: run\n\n"}
    assert not others.keys() & found({}, files | others).keys()


def test_what_scripts_of_packages_write_counts_where_the_package_is() -> None:
    """Logs and caches of dpkg, of the linker and of certificates."""
    written = {"/var/log/dpkg.log": b"x", "/etc/ld.so.cache": b"x", "/etc/alternatives/awk": b"-> /usr/bin/mawk"}
    assert found({}, package() | written).keys() >= {"/var/log/dpkg.log", "/etc/alternatives/awk"}
    # libc-bin is not installed there.
    assert "/etc/ld.so.cache" not in found({}, package() | written)
    assert found({}, written) == {}


def test_locales_are_data_of_their_package() -> None:
    """`locale-gen` makes them; a step that selects some changes its settings."""
    written = {
        "/usr/lib/locale/locale-archive": b"\t\x01\x02\xde",
        "/usr/lib/locale/de_DE.utf8/LC_CTYPE": b"x",
        "/usr/lib/locale/de_DE.utf8/LC_MESSAGES/SYS_LC_MESSAGES": b"x",
        "/etc/locale.gen": b"de_DE.UTF-8 UTF-8\n",
        "/etc/default/locale": b"LANG=de_DE.UTF-8\n",
        "/etc/timezone": b"Europe/Berlin\n",
    }
    code = {"/usr/lib/locale/de_DE.utf8/x.so": b"x", "/usr/lib/locale/de_DE.utf8/LC_TIME": b"\x7fELF"}
    records = package() | {"/var/lib/dpkg/status": b"Package: locales\nVersion: 1\n\nPackage: tzdata\nVersion: 2\n"}
    seen = found({}, records | written | code)
    assert {seen[path].name for path in written} == {"locales", "tzdata"}
    assert not code.keys() & seen.keys()
    assert not written.keys() & found({}, package() | written).keys()


def test_records_that_are_not_text_are_accepted() -> None:
    """They then name no package."""
    files = {f"{INFO}/curl.list": b"\xff\xfe", f"{INFO}/curl.md5sums": b"\xff\n\n x", "/var/lib/dpkg/status": b"\xff"}
    assert set(found({}, files).values()) <= {Package("curl", "")}


@pytest.mark.parametrize(
    "files",
    [
        {"/var/cache/debconf/run": b"\x7fELF"},
        {"/usr/share/mime/evil.py": b"x = 1\n"},
        {"/etc/alternatives/editor": b"-> /opt/run"},
        {"/etc/alternatives/editor": b"-> ../../usr/local/bin/run"},
        {f"{INFO}/curl.py": b"x = 1\n"},
    ],
)
def test_code_where_the_scripts_of_packages_write_is_left_out(files: Contents) -> None:
    """Neither are links out of Debian's folders. The control: data and links within them."""
    written = {"/var/cache/debconf/config.dat": b"x", "/etc/alternatives/awk": b"-> /usr/bin/mawk"}
    records = package() | {
        "/var/lib/dpkg/status": status() + b"\nPackage: debconf\nVersion: 1\n\nPackage: shared-mime-info\n"
    }
    seen = found({}, {**records, **written, **files})
    assert written.keys() <= seen.keys()
    assert not files.keys() & seen.keys()
