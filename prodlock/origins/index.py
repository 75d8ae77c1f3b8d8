"""Ask package indexes for files: their pages (PEP 503, PEP 691), and downloads.

A login goes to the host that it is for, also where an answer redirects to another one. Messages and addresses in them
have no logins.
"""

from __future__ import annotations

import base64
import html.parser
import http.client
import json
import netrc
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, NamedTuple, TypeVar
from urllib.parse import unquote, urldefrag, urljoin, urlsplit, urlunsplit

from prodlock.failure import CANNOT_CHECK, Failure
from prodlock.inside.lock.selection import default_index

_ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
# Seconds without an answer.
_TIMEOUT = 30
# A page of thousands of files has a few megabytes.
_PAGE_BYTES = 256 << 20
# Seconds before each further attempt where a connection breaks, or a server is overloaded.
_PAUSES = (0.5, 1.5)
_TEMPORARY = {429, 500, 502, 503, 504}
_REFUSED = {401, 403, 407}
_ABSENT = {404, 410}
_Result = TypeVar("_Result")


class Listed(NamedTuple):
    """A file on the page of a project."""

    name: str
    address: str
    # Empty where the page has no sha256 of it.
    sha256: str


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; a login does not go to another host."""

    def redirect_request(  # noqa: PLR0913, PLR0917 - the parameters are those of the base class
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and _origin(newurl) != _origin(req.full_url):
            following.remove_header("Authorization")
        return following

    def http_error_302(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> http.client.HTTPResponse | None:
        """Close the answer also where its Location is not an address."""
        try:
            answer: http.client.HTTPResponse | None = super().http_error_302(req, fp, code, msg, headers)
        except ValueError:
            fp.close()
            raise
        return answer

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class Index:
    """The package indexes of the settings (prodlock/site.py). Its methods may run in several threads."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        index = settings.get("INDEX_URL") or default_index()
        if not index:
            raise Failure(
                "INDEX_URL must be the address of a package index where Python has no pip, whose default is used "
                "otherwise (got none). To fix it: set INDEX_URL.",
                CANNOT_CHECK,
            )
        self._addresses = (index, *settings.get("EXTRA_INDEX_URL", "").split())
        bundle, logins = settings.get("CA_BUNDLE"), settings.get("NETRC")
        # An empty file is valid, as for a build.
        context = ssl.create_default_context(cafile=bundle if bundle and Path(bundle).stat().st_size else None)
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Redirects())
        self._logins = netrc.netrc(logins) if logins else None
        self._pages: dict[tuple[str, str], list[Listed]] = {}

    def addresses(self, first: str) -> list[str]:
        """Return the addresses of all indexes without logins, beginning with those of a requirement."""
        return list(dict.fromkeys(bare(one).rstrip("/") for one in (*first.split(), *self._addresses)))

    def files(self, address: str, name: str) -> list[Listed]:
        """Return the files of a project on an index; none where the index does not have the project.

        Raises Failure, code 2, where the index refuses, does not answer, or has a page that can't be read.
        """
        if (address, name) not in self._pages:
            page = f"{address}/{name}/"
            try:
                self._pages[address, name] = self._answer(page, _ACCEPT, _listed) or []
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                raise _failure(page, f"a page that can't be read: {error}") from None
        return self._pages[address, name]

    def download(self, address: str, write: Callable[[bytes], object], restart: Callable[[], object]) -> bool:
        """Write the content of a file in parts; return whether the server has the file.

        `restart` is called before each attempt. Raises Failure, code 2, where the server refuses or does not answer.
        """

        def take(answer: http.client.HTTPResponse) -> bool:
            restart()
            while part := answer.read(1 << 18):
                write(part)
            # Without an error where the connection has ended before.
            if answer.length:
                raise http.client.IncompleteRead(b"", answer.length)
            return True

        try:
            return self._answer(address, "*/*", take) or False
        except ValueError as error:
            raise _failure(address, str(error)) from None

    def _answer(self, address: str, accept: str, take: Callable[[http.client.HTTPResponse], _Result]) -> _Result | None:
        """Return what a function makes of an answer, or None where the server does not have what is asked for."""
        for pause in (*_PAUSES, None):
            try:
                with self._open(address, accept) as answer:
                    return take(answer)
            except urllib.error.HTTPError as error:
                error.close()
                if error.code in _ABSENT:
                    return None
                reason, is_temporary = f"{error.code} {error.reason}", error.code in _TEMPORARY
                if error.code in _REFUSED:
                    raise Failure(
                        f"{_host(address)} must accept the login (got {reason}). To fix it: correct the login in "
                        "INDEX_URL, EXTRA_INDEX_URL or the file NETRC.",
                        CANNOT_CHECK,
                    ) from None
            except (OSError, http.client.HTTPException) as error:
                cause = getattr(error, "reason", error)
                reason, is_temporary = str(cause) or repr(cause), not isinstance(cause, ssl.SSLCertVerificationError)
            if pause is None or not is_temporary:
                break
            time.sleep(pause)
        raise _failure(address, reason)

    def _open(self, address: str, accept: str) -> http.client.HTTPResponse:
        headers = {"Accept": accept, "User-Agent": "prodlock"}
        if login := self._login(address):
            headers["Authorization"] = f"Basic {base64.b64encode(':'.join(login).encode()).decode()}"
        if not address.startswith(("https://", "http://")):
            message = f"an address of another kind than https:// and http:// ({address.partition(':')[0]})"
            raise http.client.InvalidURL(message)
        request = urllib.request.Request(bare(address), headers=headers)  # noqa: S310 - checked above
        answer: http.client.HTTPResponse = self._opener.open(request, timeout=_TIMEOUT)
        return answer

    def _login(self, address: str) -> tuple[str, str] | None:
        """Return user and password for an address: its own, those of an index on the same host, or those of netrc."""
        for one in (address, *self._addresses):
            parts = urlsplit(one)
            if parts.username is not None and _origin(one) == _origin(address):
                return unquote(parts.username), unquote(parts.password or "")
        if self._logins and (found := self._logins.authenticators(urlsplit(address).hostname or "")):
            return found[0], found[2] or ""
        return None


def bare(address: str) -> str:
    """Return an address without a login."""
    parts = urlsplit(address)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _host(address: str) -> str:
    return urlsplit(bare(address)).netloc


def _origin(address: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(address)
    return parts.scheme, parts.hostname, parts.port


def _failure(address: str, reason: str) -> Failure:
    return Failure(
        f"{_host(address)} must answer with what the lock names, because the cache does not have it (got: {reason}). "
        "To fix it: try again with a network, or set INDEX_URL and CA_BUNDLE.",
        CANNOT_CHECK,
    )


def _listed(answer: http.client.HTTPResponse) -> list[Listed]:
    """Return the files on the page of a project. Raises ValueError or a similar error for another page."""
    content = answer.read(_PAGE_BYTES + 1)
    if len(content) > _PAGE_BYTES:
        message = "it is larger than 256 MiB"
        raise ValueError(message)
    if not answer.headers.get_content_type().endswith("json"):
        page = _Page(answer.url)
        page.feed(content.decode())
        page.close()
        return page.found
    return [
        Listed(one["filename"], urljoin(answer.url, one["url"]), one.get("hashes", {}).get("sha256", "").lower())
        for one in json.loads(content)["files"]
    ]


class _Page(html.parser.HTMLParser):
    """Collects the files on a page in HTML."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address
        self.found: list[Listed] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take the address of a link, which may have the file's sha256 behind `#`."""
        address = dict(attrs).get("href")
        if tag == "base" and address:
            self._address = urljoin(self._address, address)
        elif tag == "a" and address:
            plain, fragment = urldefrag(urljoin(self._address, address))
            name = unquote(urlsplit(plain).path.rpartition("/")[2])
            digest = fragment.partition("sha256=")[2].partition("&")[0].lower()
            self.found.append(Listed(name, plain, digest))
