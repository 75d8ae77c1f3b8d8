"""The image's HEALTHCHECK: exit 0 if `GET /health` answers 200 on this container's port, else 1.

`python -S healthcheck.py [PORT [HOST]]`: the defaults are those of the server. A raw socket under `python -S` takes
half the time of `urllib`, and an image needs no curl for it.
"""

import os
import socket
import sys
from collections.abc import Iterable

PORT = 8000
# Addresses to connect to where the server listens on all addresses of a family.
LOOPBACK = {"": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",), "::": ("::1",)}  # noqa: S104


def is_healthy(port: int, addresses: Iterable[str] = LOOPBACK[""]) -> bool:
    """Return whether the service answers 200 on one of the addresses."""
    return any(_answers(address, port) for address in addresses)


def _answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def main(arguments: list[str]) -> int:
    """Return the exit code for a port and a host, each of which may be left out."""
    port, host, *_ = [*arguments, *(str(PORT), os.environ.get("UVICORN_HOST", ""))[len(arguments) :]]
    return 0 if is_healthy(int(port), LOOPBACK.get(host, (host,))) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
