"""Write bytecode of other code in the place of a module's.

python forge.py MODULE CODE SECONDS    with the module's size, and its time moved by so many seconds, in the header
python forge.py MODULE CODE            with a hash in the header that Python does not check
"""

from __future__ import annotations

import importlib._bootstrap_external as bootstrap
import importlib.util
import sys
from pathlib import Path

module, text, *seconds = sys.argv[1:]
status = Path(module).stat()
target = Path(importlib.util.cache_from_source(module))
target.parent.mkdir(exist_ok=True)
code = compile(text, module, "exec")
if seconds:
    header = int(status.st_mtime) + int(seconds[0]), status.st_size
    content = bootstrap._code_to_timestamp_pyc(code, *header)  # type: ignore[attr-defined]
else:
    digest = importlib.util.source_hash(Path(module).read_bytes())
    content = bootstrap._code_to_hash_pyc(code, digest, checked=False)  # type: ignore[attr-defined]
target.write_bytes(content)
