"""What builds learn from the machine they run on."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest

from ops import site


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine where nothing is configured, and its home folder."""
    for name in ("CA_BUNDLE", "INDEX_URL", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "SSL_CERT_FILE", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "venv"))
    return tmp_path


def configure(file: Path, text: str) -> None:
    """Write a configuration file of pip's."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def test_pips_default_index_needs_no_setting() -> None:
    """Nothing configured: nothing is handed to the build."""
    assert site.environment()["INDEX_URL"] == ""


def test_the_index_is_the_one_pip_is_configured_with(bare: Path) -> None:
    """The user's pip.conf counts."""
    configure(bare / ".config/pip/pip.conf", "[global]\nindex-url = https://u:p%40ss@index.example/simple\n")
    assert site.environment()["INDEX_URL"] == "https://u:p%40ss@index.example/simple"


def test_the_environments_own_configuration_wins_over_the_users(bare: Path) -> None:
    """A virtual environment's pip.conf is read last."""
    configure(bare / ".config/pip/pip.conf", "[global]\nindex-url = https://one.example\n")
    configure(bare / "venv/pip.conf", "[global]\nindex-url = https://two.example\n")
    assert site.index_url() == "https://two.example"


def test_the_install_section_wins_over_the_global_one(bare: Path) -> None:
    """As pip itself has it."""
    configure(bare / ".config/pip/pip.conf", "[global]\nindex-url = https://a\n[install]\nindex-url = https://b\n")
    assert site.index_url() == "https://b"


def test_pips_variable_wins_over_its_files(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PIP_INDEX_URL, then the files."""
    configure(bare / ".config/pip/pip.conf", "[global]\nindex-url = https://a\n")
    monkeypatch.setenv("PIP_INDEX_URL", "https://c")
    assert site.index_url() == "https://c"


def test_what_the_user_sets_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    """INDEX_URL and CA_BUNDLE are taken as they are."""
    monkeypatch.setenv("INDEX_URL", "https://mine")
    monkeypatch.setenv("CA_BUNDLE", "/mine.pem")
    assert site.environment() == {"INDEX_URL": "https://mine", "CA_BUNDLE": "/mine.pem"}


def test_the_bundle_is_the_machines_trust_store(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SSL_CERT_FILE names it, as for Python itself."""
    bundle = bare / "ca.pem"
    bundle.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert ssl.get_default_verify_paths().cafile == str(bundle)
    assert site.ca_bundle() == str(bundle)


def test_without_a_file_what_python_trusts_is_written_to_one(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on Windows, whose store is no file; an empty one is a bundle too."""
    context = ssl.create_default_context(cafile="/etc/ssl/certs/ca-certificates.crt")
    for trusting in (context, ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)):
        monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
        monkeypatch.setattr(site, "_BUNDLES", ())
        monkeypatch.setattr(site, "EXPORTED", bare / "exported.pem")
        monkeypatch.setattr(ssl, "create_default_context", lambda trusting=trusting: trusting)
        assert site.ca_bundle() == str(bare / "exported.pem")
        written = (bare / "exported.pem").read_text(encoding="ascii")
        assert written.count("BEGIN CERTIFICATE") == len(trusting.get_ca_certs())
    assert len(context.get_ca_certs()) > 0
