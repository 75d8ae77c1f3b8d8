"""The machine's certificate authorities, package indexes and logins."""

from __future__ import annotations

import csv
import os
import ssl
import sys
from pathlib import Path

import pytest

from prodlock import site
from prodlock.failure import Failure
from prodlock.project import Project


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The home folder of a machine without any configuration."""
    for name in ("CA_BUNDLE", "PIP_CONFIG_FILE", "SSL_CERT_FILE", "XDG_CONFIG_HOME", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    for name in ("INDEX_URL", "EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    return tmp_path


def configure(file: Path, text: str) -> None:
    """Write a configuration file of pip."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def test_pips_default_index_needs_no_setting() -> None:
    """Without a configuration the build gets no index."""
    assert site.environment(Project())["INDEX_URL"] == ""


def test_the_index_is_read_from_pips_configuration(bare: Path) -> None:
    """Here from the user's pip.conf."""
    configure(bare / ".config/pip/pip.conf", "[global]\nindex-url = https://u:p%40ss@index.example/simple\n")
    assert site.environment(Project())["INDEX_URL"] == "https://u:p%40ss@index.example/simple"


def test_a_virtual_environments_configuration_precedes_the_users(bare: Path) -> None:
    """Pip reads it last."""
    configure(bare / ".config/pip/pip.conf", "[global]\nindex-url = https://one.example\n")
    configure(bare / "venv/pip.conf", "[global]\nindex-url = https://two.example\n")
    assert site.index_url(Project()) == "https://two.example"


def test_the_install_section_precedes_the_global_one(bare: Path) -> None:
    """Pip has the same order."""
    configure(bare / ".config/pip/pip.conf", "[global]\nindex-url = https://a\n[install]\nindex-url = https://b\n")
    assert site.index_url(Project()) == "https://b"


def test_an_underscore_in_a_setting_is_a_hyphen(bare: Path) -> None:
    """Pip reads `index_url` as `index-url`."""
    configure(bare / ".config/pip/pip.conf", "[global]\nindex_url = https://a\n")
    assert site.index_url(Project()) == "https://a"


def test_the_null_device_disables_pips_files(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip reads no file with PIP_CONFIG_FILE=/dev/null."""
    configure(bare / ".config/pip/pip.conf", "[global]\nindex-url = https://a\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert site.index_url(Project()) == ""


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("index-url = https://u:secret@a\n", 1),
        ("[global]\n\nhttps//u@secret\n", 3),
        ("[global]\nindex-url = https://u:secret@a\nindex-url = https://u:secret@b\n", 3),
        ("[global]\n[global]\n", 2),
    ],
)
def test_an_invalid_configuration_of_pip_is_a_failure(bare: Path, text: str, line: int) -> None:
    """The message names the file and the line, and repeats no password."""
    configure(bare / ".config/pip/pip.conf", text)
    with pytest.raises(
        Failure, match=rf"pip\.conf must be a configuration .* \(got an error in line {line}\)"
    ) as failure:
        site.index_url(Project())
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_configuration_of_pip_may_have_any_encoding(bare: Path, encoding: str) -> None:
    """Pip reads it in that of the user's language."""
    file = bare / ".config/pip/pip.conf"
    configure(file, "")
    file.write_bytes("# für uns\n[global]\nindex-url = https://a\n".encode(encoding))
    assert site.index_url(Project()) == "https://a"


def test_windows_without_the_variable_of_the_users_settings_has_their_usual_folder(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service has few variables."""
    monkeypatch.delenv("APPDATA", raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    configure(bare / "AppData/Roaming/pip/pip.ini", "[global]\nindex-url = https://a\n")
    assert site.index_url(Project()) == "https://a"


def bundle(path: Path, kind: str) -> Path:
    """Make something other than a file of certificates, and return its path."""
    if kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("no certificate\n", encoding="utf-8")
    elif kind == "binary":
        path.write_bytes(bytes(range(256)))
    elif kind == "broken":
        path.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", ["absent", "folder", "text", "binary", "broken"])
def test_a_bundle_must_be_a_file_of_certificates(bare: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Otherwise a build would fail far from the cause."""
    path = bundle(bare / "ca.pem", kind)
    monkeypatch.setenv("CA_BUNDLE", str(path))
    with pytest.raises(Failure, match=rf"^CA_BUNDLE must be a readable file of certificates .* \(got {path}: "):
        site.environment(Project())


@pytest.mark.parametrize("made", [os.devnull, ssl.get_default_verify_paths().cafile or os.devnull])
def test_a_bundle_may_be_empty_or_the_machines_own(monkeypatch: pytest.MonkeyPatch, made: str) -> None:
    """The positive control of the test above."""
    monkeypatch.setenv("CA_BUNDLE", made)
    assert site.environment(Project())["CA_BUNDLE"] == made


@pytest.mark.parametrize(
    "address", ["index.example/simple", "file:///srv/index", "ftp://u:secret@x", "https://a b", "https://é", "https://"]
)
def test_an_index_must_be_a_web_address(bare: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """In INDEX_URL or in pip's configuration; the message does not repeat a password."""
    monkeypatch.setenv("INDEX_URL", address)
    with pytest.raises(Failure, match=r"^The package index must be an address that begins with http") as failure:
        site.environment(Project())
    assert "secret" not in str(failure.value)
    monkeypatch.delenv("INDEX_URL")
    configure(bare / ".config/pip/pip.conf", f"[global]\nindex-url = {address}\n")
    with pytest.raises(Failure, match=r"^The package index must be an address"):
        site.environment(Project())


def test_pips_variable_precedes_its_files(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PIP_INDEX_URL is read first, unless it is empty."""
    configure(bare / ".config/pip/pip.conf", "[global]\nindex-url = https://a\n")
    monkeypatch.setenv("PIP_INDEX_URL", "")
    assert site.index_url(Project()) == "https://a"
    monkeypatch.setenv("PIP_INDEX_URL", "https://c")
    assert site.index_url(Project()) == "https://c"


def test_the_users_settings_take_precedence(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CA_BUNDLE may be relative to the current folder."""
    (bare / "mine.pem").touch()
    monkeypatch.chdir(bare)
    monkeypatch.setenv("INDEX_URL", "https://mine")
    monkeypatch.setenv("CA_BUNDLE", "mine.pem")
    monkeypatch.setenv("EXTRA_INDEX_URL", " https://u:p@one/simple  https://two/simple ")
    (bare / "mine.netrc").touch()
    monkeypatch.setenv("NETRC", "mine.netrc")
    assert site.environment(Project()) == {
        "INDEX_URL": "https://mine",
        "EXTRA_INDEX_URL": "https://u:p@one/simple https://two/simple",
        "CA_BUNDLE": str(bare / "mine.pem"),
        "NETRC": str(bare / "mine.netrc"),
    }


def test_further_indexes_are_read_from_pips_configuration(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One on each line, as pip has it; PIP_EXTRA_INDEX_URL precedes the files, and EXTRA_INDEX_URL both."""
    assert site.environment(Project())["EXTRA_INDEX_URL"] == ""
    configure(bare / ".config/pip/pip.conf", "[global]\nextra-index-url =\n    https://a\n    https://b\n")
    assert site.environment(Project())["EXTRA_INDEX_URL"] == "https://a https://b"
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "https://c")
    assert site.environment(Project())["EXTRA_INDEX_URL"] == "https://c"
    monkeypatch.setenv("EXTRA_INDEX_URL", "https://d")
    assert site.environment(Project())["EXTRA_INDEX_URL"] == "https://d"


def test_folders_in_pips_configuration_are_not_given_to_a_build(bare: Path) -> None:
    """A build can't read them; indexes beside them are given."""
    configure(bare / ".config/pip/pip.conf", "[global]\nextra-index-url = file:///srv/index https://a /srv/other\n")
    assert site.environment(Project())["EXTRA_INDEX_URL"] == "https://a"


@pytest.mark.parametrize(
    "address", ["secret.example/simple", "file:///secret", "ftp://u:secret@x", "https://", "http://u:secret@h:x"]
)
def test_a_further_index_must_be_a_web_address(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Beside a valid one too; the message does not repeat a password."""
    monkeypatch.setenv("EXTRA_INDEX_URL", f"https://a {address}")
    with pytest.raises(Failure, match=r"^Further package indexes must be addresses .* set EXTRA_INDEX_URL") as failure:
        site.environment(Project())
    assert "secret" not in str(failure.value)


def test_the_users_netrc_file_is_found(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NETRC precedes it, and the null device disables it."""
    assert site.environment(Project())["NETRC"] == ""
    file = bare / ".netrc"
    file.write_text("machine one.example login u password p#w\n", encoding="utf-8")
    assert site.environment(Project())["NETRC"] == str(file)
    monkeypatch.setenv("NETRC", os.devnull)
    assert site.environment(Project())["NETRC"] == os.devnull


def test_a_home_that_cannot_be_read_has_no_files(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HOME may be another user's. Root may enter every folder, but the system refuses a name of this length."""
    monkeypatch.setenv("HOME", str(bare / ("x" * 300)))
    monkeypatch.setenv("SSL_CERT_FILE", str(bare / ("x" * 300) / "ca.pem"))
    found = site.environment(Project())
    assert (found["NETRC"], found["INDEX_URL"]) == ("", "")
    assert found["CA_BUNDLE"] in site._BUNDLES


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"", "Is a directory"),
        (b"machine a login u\nsecret word\n", "an error in line 2"),
        (b"machine a password \xff\xfesecret\n", "text that is not UTF-8"),
    ],
)
def test_netrc_must_be_a_netrc_file(
    bare: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None, reason: str
) -> None:
    """The message states the reason and no contents."""
    file = bare / "logins"
    if content:
        file.write_bytes(content)
    elif content is not None:
        file.mkdir()
    monkeypatch.setenv("NETRC", str(file))
    with pytest.raises(Failure) as failure:
        site.environment(Project())
    message = str(failure.value)
    assert message.startswith(f"NETRC must be a readable file in the format of netrc (got {file}: {reason}). To fix it")
    assert "secret" not in message


def test_a_build_is_given_each_setting_without_an_address_on_the_command_line() -> None:
    """Files by their path, addresses by the name of a variable; no option where there is no netrc file."""
    settings = {"CA_BUNDLE": "/c", "NETRC": "/n", "INDEX_URL": "https://u:p@a", "EXTRA_INDEX_URL": "https://u:p@b"}
    addresses = ("--secret=id=index_url,env=INDEX_URL", "--secret=id=extra_index_url,env=EXTRA_INDEX_URL")
    assert site.secrets(settings) == ("--secret=id=ca_bundle,src=/c", "--secret=id=netrc,src=/n", *addresses)
    assert site.secrets(settings | {"NETRC": ""}) == ("--secret=id=ca_bundle,src=/c", *addresses)


def test_the_login_for_an_address_is_that_of_a_further_index_on_its_host() -> None:
    """Another host or port gets none."""
    settings = {"EXTRA_INDEX_URL": "https://plain.example/simple https://u:p%40ss@one.example/simple"}
    assert site.login(settings, "https://one.example/other/simple") == ("u", "p@ss")
    assert site.login(settings, "https://one.example:8443/simple") is None
    assert site.login(settings, "https://plain.example/simple") is None


def test_the_bundle_is_the_machines_trust_store(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE names it, for Python as well."""
    bundle = bare / "ca.pem"
    bundle.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert ssl.get_default_verify_paths().cafile == str(bundle)
    assert site.ca_bundle(Project()) == str(bundle)


def test_the_authorities_that_python_trusts_are_exported_where_no_file_has_them(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has no such file; without any authority the bundle is empty."""
    context = ssl.create_default_context(cafile=next(path for path in site._BUNDLES if Path(path).is_file()))
    for trusting in (context, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)):
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
        monkeypatch.setattr(site, "_BUNDLES", ())
        monkeypatch.setattr(site, "EXPORTED", bare / "own" / "exported.pem")
        monkeypatch.setattr(ssl, "create_default_context", lambda trusting=trusting: trusting)
        assert site.ca_bundle(Project()) == str(bare / "own" / "exported.pem")
        written = (bare / "own" / "exported.pem").read_text(encoding="ascii")
        assert written.count("BEGIN CERTIFICATE") == len(trusting.get_ca_certs())
    assert len(context.get_ca_certs()) > 0
    assert (bare / "own" / ".gitignore").read_text(encoding="ascii") == "*\n"


def test_a_folder_that_another_task_makes_meanwhile_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tasks may write reports at the same time."""
    folder = tmp_path / "reports"
    site.create(folder)
    assert (folder / ".gitignore").read_text(encoding="ascii") == "*\n"
    monkeypatch.setattr(Path, "exists", lambda _: False)
    site.create(folder)


def test_a_file_of_a_build_may_have_a_comma_in_its_name() -> None:
    """Docker reads the option as a line of CSV."""
    (option, *_) = site.secrets({"CA_BUNDLE": '/Acme, Inc/"ca".pem', "NETRC": ""})
    assert next(csv.reader([option.removeprefix("--secret=")])) == ["id=ca_bundle", 'src=/Acme, Inc/"ca".pem']
