"""Run the tests under debugpy, once a debugger is attached.

python -X frozen_modules=off -m prodlock.loop.debug [PYTEST_ARGUMENT ...]
"""

from __future__ import annotations

import sys

import debugpy
import pytest

PORT = 5678

if __name__ == "__main__":
    # All addresses of the container; its port is published on the loopback interface of the host.
    debugpy.listen(("0.0.0.0", PORT))  # noqa: S104
    print(f"The tests wait for a debugger on 127.0.0.1:{PORT}; the project's folder is /srv there.", flush=True)
    debugpy.wait_for_client()
    sys.exit(pytest.main(sys.argv[1:]))
