"""Download of uv in a build step, tested with an index on this machine."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from packaging.tags import sys_tags

from prodlock.inside import install

TAG = next(tag for tag in map(str, sys_tags()) if tag.startswith("py3-none-"))
NAME = f"uv-1.0-{TAG}.whl"


def packed(program: bytes) -> bytes:
    """Return a wheel of uv."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        archive.writestr("uv-1.0.data/scripts/uv", program)
    return written.getvalue()


class Index(http.server.BaseHTTPRequestHandler):
    """A package index that requires a password for some paths, fails `faults` times, and redirects to another host."""

    wheel = packed(b"program")
    faults = 0
    seen: ClassVar[list[tuple[str, str, str]]] = []
    page = "<a href='/files/{name}#sha256=0'>{name}</a><a\\nHREF=\"../uv-1.0.tar.gz\">uv-1.0.tar.gz</a>"

    def do_GET(self) -> None:
        """Serve the page, redirect to the other host, or serve the wheel."""
        self.seen.append((self.headers["Host"].partition(":")[0], self.path, self.headers.get("Authorization", "")))
        if type(self).faults:
            type(self).faults -= 1
            self.answer(503, b"")
        elif self.path == "/simple/uv/":
            self.answer(200, gzip.compress(self.page.format(name=NAME).encode()), ("Content-Encoding", "gzip"))
        elif self.path.startswith("/files/"):
            port = self.headers["Host"].partition(":")[2]
            self.answer(302, b"", ("Location", f"http://localhost:{port}/other/uv"))
        elif self.path == "/other/uv":
            self.answer(200, self.wheel)
        else:
            self.answer(401 if "private" in self.path else 404, b"")

    def answer(self, status: int, content: bytes, *headers: tuple[str, str]) -> None:
        """Send a response."""
        self.send_response(status)
        for name, value in (*headers, ("Content-Length", str(len(content)))):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an index with a password, as in a build step; uv 1.0 is pinned."""
    monkeypatch.setattr(install, "HERE", tmp_path)
    monkeypatch.setattr(install, "SECRETS", tmp_path)
    monkeypatch.setattr("time.sleep", lambda _: None)
    monkeypatch.setattr(Index, "seen", [])
    digest = hashlib.sha256(Index.wheel).hexdigest()
    (tmp_path / "uv.txt").write_text(f"uv==1.0 \\\n    --hash=sha256:{digest}\n", encoding="utf-8")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        address = f"http://user:p%40ss@127.0.0.1:{server.server_port}/simple"
        (tmp_path / "index_url").write_text(address, encoding="utf-8")
        yield address
        server.shutdown()


def refused() -> str:
    """Return the message that ends the step, which must not contain the password."""
    with pytest.raises(SystemExit) as ended:
        install.uv()
    message = str(ended.value)
    assert "p%40ss" not in message
    assert "p@ss" not in message
    return message


@pytest.mark.usefixtures("index")
def test_uv_is_downloaded_and_the_password_stays_with_the_index(tmp_path: Path) -> None:
    """Each request to the index has the password; the request to the host that it redirects to does not."""
    install.uv()
    assert (tmp_path / "uv").read_bytes() == b"program"
    assert (tmp_path / "uv").stat().st_mode & 0o777 == 0o755
    basic = "Basic dXNlcjpwQHNz"
    assert Index.seen == [
        ("127.0.0.1", "/simple/uv/", basic),
        ("127.0.0.1", f"/files/{NAME}", basic),
        ("localhost", "/other/uv", ""),
    ]


def test_uv_is_downloaded_with_a_login_of_the_netrc_file(tmp_path: Path, index: str) -> None:
    """The address has none; the host that it redirects to gets no login."""
    (tmp_path / "index_url").write_text(index.replace("user:p%40ss@", ""), encoding="utf-8")
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password p@ss\n", encoding="utf-8")
    install.uv()
    assert (tmp_path / "uv").read_bytes() == b"program"
    assert [seen[2] for seen in Index.seen] == ["Basic dXNlcjpwQHNz", "Basic dXNlcjpwQHNz", ""]


def test_a_further_index_that_refuses_the_build_is_reported(tmp_path: Path, index: str) -> None:
    """Without its login; one that lets the build in, and one that can't be reached, are not."""
    private = index.replace("/simple", "/private")
    (tmp_path / "extra_index_url").write_text(f"{private} {index} http://127.0.0.1:9/simple", encoding="utf-8")
    plain = private.replace("user:p%40ss@", "")
    assert install.refusals("uv==1.0 --hash=sha256:0\n") == [
        f"hint: An index ({plain}) could not be queried due to a lack of valid authentication credentials (HTTP status "
        "401)."
    ]
    (tmp_path / "extra_index_url").unlink()
    assert len(install.refusals(f"--extra-index-url {plain}\nuv==1.0\n")) == 1
    assert install.refusals("uv==1.0\n") == []


def test_uv_is_downloaded_from_a_further_index(tmp_path: Path, index: str) -> None:
    """Where the package index does not have it."""
    (tmp_path / "index_url").write_text(index.replace("/simple", "/absent"), encoding="utf-8")
    (tmp_path / "extra_index_url").write_text(index, encoding="utf-8")
    install.uv()
    assert (tmp_path / "uv").read_bytes() == b"program"
    (tmp_path / "extra_index_url").write_text(index.replace("/simple", "/absent"), encoding="utf-8")
    assert refused().startswith("The package index must be reachable and have uv (got: HTTP status 404). To fix it: ")


@pytest.mark.usefixtures("index")
def test_uv_with_another_hash_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sha256 is compared before the wheel is unpacked."""
    monkeypatch.setattr(Index, "wheel", packed(b"another"))
    assert refused().startswith("The package index must serve uv==1.0 with a sha256 in prodlock/inside/")
    assert not (tmp_path / "uv").exists()


@pytest.mark.usefixtures("index")
def test_a_temporary_error_of_the_index_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two errors are retried; a third one ends the step."""
    monkeypatch.setattr(Index, "faults", 2)
    install.uv()
    assert (tmp_path / "uv").exists()
    monkeypatch.setattr(Index, "faults", 3)
    assert refused().startswith("The package index must be reachable and have uv (got: HTTP status 503). To fix it: ")


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("http://127.0.0.1:9/simple", "The package index must be reachable and have uv (got: [Errno 111] "),
        ("INDEX/absent", "The package index must be reachable and have uv (got: HTTP status 404). To fix it: "),
        ("INDEX/private", "The package index must let the build in (got HTTP status 401). To fix it: give it a user"),
    ],
)
def test_an_unusable_index_is_an_error_message(tmp_path: Path, index: str, address: str, error: str) -> None:
    """The message has a remedy, and not the password in the index's address."""
    (tmp_path / "index_url").write_text(address.replace("INDEX", index.removesuffix("/simple")), encoding="utf-8")
    assert refused().startswith(error)


@pytest.mark.usefixtures("index")
def test_an_index_without_a_wheel_for_this_machine_is_an_error_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """No source distribution and no wheel of another platform takes its place."""
    monkeypatch.setattr(
        Index, "page", "<a href='/files/uv-1.0.tar.gz'></a><a href='/files/uv-1.0-py3-none-win32.whl'></a>"
    )
    assert refused().startswith("The package index must have a wheel of uv==1.0 for ")


def test_the_wheel_with_the_most_specific_tag_is_chosen() -> None:
    """The version and the tags decide, as in pip."""
    general, specific = f"uv-1.0-{[*sys_tags()][-1]}.whl", f"uv-1.0-{next(sys_tags())}.whl"
    others = ["uv-1.0.tar.gz", f"uv-1.0.1-{TAG}.whl", "uv-1.0-py3-none-win_amd64.whl", "uv-1.0-py3-none-linux_s390.whl"]
    assert install.wheel([*others, general, specific, NAME], "1.0") == specific
    assert install.wheel([*others, NAME], "1.0") == NAME
    assert install.wheel(others, "1.0") == ""


def test_links_of_an_index_are_resolved() -> None:
    """Links may be relative, and may have character references and fragments."""
    page = "<a href=\"../../f/a%2B1.whl#sha256=0\">a</a><A data-x='1'\n href='https://files.example/b.whl?x=1&amp;y=2'>b</A>"
    assert install.links(page, "https://index.example/simple/uv/") == {
        "a+1.whl": "https://index.example/f/a%2B1.whl",
        "b.whl": "https://files.example/b.whl?x=1&y=2",
    }


def test_a_list_with_a_distribution_without_a_wheel_is_not_installed(tmp_path: Path) -> None:
    """The message is the one that `inside/lock` wrote into the list."""
    listed = tmp_path / "main.txt"
    listed.write_text("# a 1 has no wheel for Python 3.13 on linux/amd64, and so on.\nb==1\n", encoding="utf-8")
    with pytest.raises(SystemExit, match=r"^a 1 has no wheel for Python 3\.13 on linux/amd64, and so on\.$"):
        install.wheels(str(tmp_path / "venv"), str(listed))
    assert not (tmp_path / "venv").exists()
