"""The image's HEALTHCHECK: exit 0 if the service answers on this container's port, else 1.

    python -S healthcheck.py [PORT [HOST]] [/PATH | any]

The service must answer 200 to `GET` of the path; with `any`, for a service without a health path, any answer below 500
is healthy. The defaults are those of the server. A raw socket under `python -S` takes half the time of `urllib`, and an
image needs no curl for it.
"""

import os
import socket
import sys
from collections.abc import Iterable

PORT = 8000
HEALTH = "/health"
ANY = "any"
OK, SERVER_ERROR = 200, 500
# Addresses to connect to where the server listens on all addresses of a family.
LOOPBACK = {"": ("127.0.0.1", "::1"), "0.0.0.0": ("127.0.0.1",), "::": ("::1",)}  # noqa: S104


def is_healthy(port: int, addresses: Iterable[str] = LOOPBACK[""], path: str = HEALTH) -> bool:
    """Return whether the service answers on one of the addresses."""
    return any(_answers(address, port, path) for address in addresses)


def _answers(address: str, port: int, path: str) -> bool:
    target = "/" if path == ANY else path
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            connection.sendall(f"GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            version, _, rest = connection.recv(64).partition(b" ")
    except (OSError, OverflowError):
        return False
    status = rest[:3]
    if not (version.startswith(b"HTTP/1.") and status.isdigit()):
        return False
    return int(status) < SERVER_ERROR if path == ANY else int(status) == OK


def main(arguments: list[str]) -> int:
    """Return the exit code for a port, a host and a path, each of which may be left out."""
    words = [word for word in arguments if not word.startswith("/") and word != ANY]
    path = next((word for word in arguments if word not in words), HEALTH)
    port, host, *_ = [*words, *(str(PORT), os.environ.get("UVICORN_HOST", ""))[len(words) :]]
    # Digits of other scripts are decimal as well.
    if not (port.isascii() and port.isdecimal()):
        sys.exit(f"The port must be a number (got {port!r}). To fix it: begin a path with a slash.")
    return 0 if is_healthy(int(port), LOOPBACK.get(host, (host,)), path) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
