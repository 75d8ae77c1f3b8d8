"""Wait for a debugger; as a program, run the tests under it.

python -X frozen_modules=off -m prodlock.loop.debug [PYTEST_ARGUMENT ...]
"""

from __future__ import annotations

import sys
from collections.abc import Callable

PORT = 5678


def wait_for_client(announce: Callable[[str], object]) -> None:
    """Listen for a debugger, announce the address, and return once it is attached."""
    import debugpy  # noqa: PLC0415 - only the image `loop` has it

    # All addresses of the container; its port is published on the loopback interface of the host.
    debugpy.listen(("0.0.0.0", PORT))  # noqa: S104
    announce(f"127.0.0.1:{PORT}")
    debugpy.wait_for_client()


def main(arguments: list[str]) -> int:
    """Run pytest once a debugger is attached, and return its exit code."""
    import pytest  # noqa: PLC0415 - the development server needs no pytest

    def announce(address: str) -> None:
        print(f"The tests wait for a debugger on {address}; the project's folder is /srv there.", flush=True)

    wait_for_client(announce)
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
