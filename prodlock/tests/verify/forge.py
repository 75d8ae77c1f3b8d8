"""Write bytecode of other code in the place of a module's.

python forge.py MODULE CODE SECONDS    with the module's size, and its time moved by so many seconds, in the header
"""

from __future__ import annotations

import importlib._bootstrap_external as bootstrap
import importlib.util
import sys
from pathlib import Path

module, text, seconds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
status = module.stat()
target = Path(importlib.util.cache_from_source(str(module)))
target.parent.mkdir(exist_ok=True)
code = compile(text, str(module), "exec")
content = bootstrap._code_to_timestamp_pyc(code, int(status.st_mtime) + seconds, status.st_size)  # type: ignore[attr-defined]
target.write_bytes(content)
