"""What broken and hostile clients get, and that the service answers everybody else meanwhile and afterwards."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import httpx
import pytest

from prodlock.docker import stages
from prodlock.project import Project
from prodlock.tests.engine.conftest import PORT, ROOT, answers, docker, inspected, memory, served

MIB = 1 << 20
HOST = b"Host: x\r\n"
CLOSE = b"Connection: close\r\n"
KEPT = b"GET /health HTTP/1.1\r\n" + HOST
GET = KEPT + CLOSE
POST = b"POST /quotes HTTP/1.1\r\n" + HOST + CLOSE + b"Content-Type: application/json\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
BODY = b'{"lines": [{"article": "bolt", "pieces": 2, "price": "1.05"}]}'


@pytest.fixture(scope="module", autouse=True)
def service() -> Iterator[str]:
    """Production, through all of these tests: it may not be restarted."""
    with served() as container:
        yield container
        assert inspected(container)["RestartCount"] == 0


def said(*sent: bytes, chunks: Iterable[bytes] = ()) -> bytes:
    """Send bytes, then chunks for as long as they are taken, and return all that the service says until it closes."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=15) as connection:
        try:
            for part in (*sent, *chunks):
                connection.sendall(part)
        except OSError:
            # It does not want to hear more.
            pass
        try:
            return b"".join(iter(partial(connection.recv, 65536), b""))
        except OSError:
            return b""


def statuses(answer: bytes) -> list[int]:
    """Return the status of each response."""
    return [int(number) for number in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


BROKEN = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no method": b" /health HTTP/1.1\r\n\r\n",
    "an unknown method": b"BREW /pot HTTP/1.1\r\n\r\n",
    "a version of the future": b"GET / HTTP/9.9\r\n\r\n",
    "a header without a name": GET + b": x\r\n\r\n",
    "a header without a colon": GET + b"nothing\r\n\r\n",
    "a space before the colon": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a NUL": GET + b"X: a\0b\r\n\r\n",
    "length and chunks": POST + b"Content-Length: 4\r\n" + CHUNKED + b"\r\n0\r\n\r\n" + SMUGGLED,
    "chunks and length": POST + CHUNKED + b"Content-Length: 4\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "two lengths": POST + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n{}  " + SMUGGLED,
    "a list of lengths": POST + b"Content-Length: 4, 5\r\n\r\n{}  " + SMUGGLED,
    "a signed length": POST + b"Content-Length: +4\r\n\r\n{}  " + SMUGGLED,
    "a length below nothing": POST + b"Content-Length: -1\r\n\r\n" + SMUGGLED,
    "a length beyond all numbers": POST + b"Content-Length: 99999999999999999999999\r\n\r\n" + SMUGGLED,
    "a coding behind chunks": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "chunks twice": POST + CHUNKED + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "a chunk of no size": POST + CHUNKED + b"\r\nx\r\n\r\n" + SMUGGLED,
    "a chunk of a size beyond all numbers": POST + CHUNKED + b"\r\nfffffffffffffffff\r\n\r\n",
    "a chunk below nothing": POST + CHUNKED + b"\r\n-1\r\n\r\n",
    "a chunk longer than its size": POST + CHUNKED + b"\r\n2\r\n{}{}{}\r\n0\r\n\r\n" + SMUGGLED,
    "a lone line feed in a chunk's size": POST + CHUNKED + b"\r\n2\n{}\r\n0\r\n\r\n" + SMUGGLED,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_http_is_refused(kind: str) -> None:
    """400 and the end of the connection: what follows is read by nobody, and smuggled past nobody."""
    assert statuses(said(BROKEN[kind])) == [400]
    assert answers()


SOUND = {
    "one after the other": (KEPT + b"\r\n" + GET + b"\r\n", [200, 200]),
    "a hundred at once": ((KEPT + b"\r\n") * 99 + GET + b"\r\n", [200] * 100),
    "no host": (b"GET /health HTTP/1.1\r\n" + CLOSE + b"\r\n", [200]),
    "an old version": (b"GET /health HTTP/1.0\r\n\r\n", [200]),
    "a whole address": (b"GET http://x/health HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", [200]),
    "in pieces": (POST + CHUNKED + b"\r\n" + b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n", [200]),
    "with a trailer": (POST + CHUNKED + b"\r\n%x\r\n%s\r\n0\r\nX: y\r\n\r\n" % (len(BODY), BODY), [200]),
    "an upgrade that nobody offers": (KEPT + b"Connection: upgrade, close\r\nUpgrade: websocket\r\n\r\n", [200]),
    "no path": (b"OPTIONS * HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n", [404]),
    "a tunnel": (b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n", [400]),
}


@pytest.mark.parametrize("kind", SOUND)
def test_what_is_rare_is_answered(kind: str) -> None:
    """The control: unusual is not broken."""
    sent, expected = SOUND[kind]
    assert statuses(said(sent)) == expected
    assert answers()


def endless(part: bytes) -> Iterator[bytes]:
    """Give 64 MiB of it."""
    block = part * max(1, 65536 // len(part))
    yield from (block for _ in range(1024))


ENDLESS = {
    "an address": (b"GET /", b"x"),
    "a header": (GET + b"X: ", b"x"),
    "headers": (GET, b"X: yyyyyyyyyy\r\n"),
    "a trailer": (POST + CHUNKED + b"\r\n2\r\n{}\r\n0\r\nX: ", b"x"),
    "a chunk's extension": (POST + CHUNKED + b"\r\n2;x=", b"x"),
}


@pytest.mark.parametrize("kind", ENDLESS)
def test_a_head_without_an_end_is_cut(service: str, kind: str) -> None:
    """431 or 400 after some dozens of KiB, and no memory is taken."""
    start, part = ENDLESS[kind]
    assert statuses(said(start, chunks=endless(part))) in ([431], [400], [])
    assert answers()
    assert memory(service) < 100 * MIB


def test_a_body_that_is_too_large_is_not_read() -> None:
    """413 to its head alone: the client has not sent a byte of it, and is not asked to."""
    with socket.create_connection(("127.0.0.1", PORT), timeout=5) as connection:
        connection.sendall(POST + b"Expect: 100-continue\r\nContent-Length: 1048577\r\n\r\n")
        answer = connection.recv(4096)
    assert statuses(answer) == [413]


def test_a_client_that_sends_too_much_anyway_sees_the_answer() -> None:
    """Not a broken connection: the rest is read and thrown away, and the connection serves the next request."""
    with httpx.Client(base_url=f"http://127.0.0.1:{PORT}") as client:
        answer = client.post("/quotes", content=bytes(8 * MIB))
        assert (answer.status_code, answer.text) == (413, "Content Too Large")
        assert client.get("/health").is_success


def test_a_body_that_turns_out_too_large_is_answered_as_well() -> None:
    """Sent in chunks, without its length."""
    answer = httpx.post(f"http://127.0.0.1:{PORT}/quotes", content=(bytes(65536) for _ in range(128)))
    assert (answer.status_code, answer.json()) == (413, {"detail": "Content Too Large"})


def test_requests_that_wait_for_no_answer_take_no_memory(service: str) -> None:
    """One connection, and requests without an end: they are let wait, or refused."""
    said(chunks=endless(KEPT + b"\r\n"))
    assert answers()
    assert memory(service) < 100 * MIB


@pytest.mark.parametrize("path", [b"/quotes", b"/health"])
def test_a_body_that_does_not_end_is_cut(service: str, path: bytes) -> None:
    """413 where it is read, and no memory is taken where it is not."""
    head = b"POST " + path + b" HTTP/1.1\r\n" + HOST + CLOSE + CHUNKED + b"\r\n"
    found = statuses(said(head, chunks=endless(b"10000\r\n" + b" " * 65536 + b"\r\n")))
    assert found in ([413], []) if path == b"/quotes" else [405]
    assert answers()
    assert memory(service) < 100 * MIB


@pytest.mark.parametrize("sent", [b"", GET, POST + b"Content-Length: 9\r\n\r\n", POST + b"Content-Length: 9\r\n\r\n{"])
def test_a_client_that_leaves_disturbs_nobody(service: str, sent: bytes) -> None:
    """A hundred of them, in the middle of a request, by a reset."""
    for _ in range(100):
        with socket.create_connection(("127.0.0.1", PORT)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.sendall(sent)
    assert answers()
    assert "Traceback" not in docker("logs", service).stdout


def fuzzed(image: str, container: str, examples: int, seed: int) -> int:
    """Send generated requests from beside the service; return how many. Each answer must be a documented one."""
    command = [
        "schemathesis", "run", "http://127.0.0.1:8000/openapi.json", f"--max-examples={examples}", f"--seed={seed}",
        # That "3" is taken for an integer is no error: FastAPI does so.
        "--mode=all", "--checks=all", "--exclude-checks=negative_data_rejection",
    ]  # fmt: skip
    place = (f"--network=container:{container}", "--env=HOME=/tmp", "--workdir=/tmp")
    done = docker("run", "--rm", *place, image, *command, check=False)
    assert done.returncode == 0, done.stdout[-5000:]
    made = re.search(r"(\d+) generated, (\d+) passed", done.stdout)
    assert made, done.stdout[-2000:]
    assert made[1] == made[2]
    return int(made[1])


def test_no_case_gets_an_error_or_an_undocumented_answer(service: str, full_length: bool) -> None:  # noqa: FBT001
    """Requests, valid and invalid, are generated from the OpenAPI document: 500, and 10,000 with `--all`."""
    examples, seeds = (2000, range(5)) if full_length else (500, range(1))
    image = stages.build(Project(ROOT), "fuzz")
    try:
        with ThreadPoolExecutor(2) as pool:
            cases = sum(pool.map(partial(fuzzed, image, service, examples), seeds))
    finally:
        docker("rmi", "--force", image)
    print(f"{cases} cases")
    assert cases >= examples * len(seeds)
    assert answers()
