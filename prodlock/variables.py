"""Judge variables by their names: which decide the code that runs, and which do not."""

from __future__ import annotations

import re

# Time zone and language: they change how text is shown.
LOCALE = ("LANG", "LC_ALL", "TZ")
# Variables that decide which code runs; pyproject.toml must not allow them: search paths and options of the
# interpreter (https://docs.python.org/3/using/cmdline.html), the loader (ld.so(8)), the C library's modules (iconv(1),
# locale(7)), OpenSSL's configuration and modules (openssl-env(7)), bash, and what the server imports by name. A shell
# reads the file that ENV names only where a user types its commands, and many services read ENV as their stage.
_DECIDING = re.compile(
    r"PATH|_?PYTHON\w*|LD_\w+|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|OPENSSL_\w+|BASH_ENV|GUNICORN_CMD_ARGS"
    r"|UVICORN_(?:APP|APP_DIR|ENV_FILE|FACTORY|HTTP|INTERFACE|LIFESPAN|LOG_CONFIG|LOOP|RELOAD\w*|WS)"
)
# The form of a variable's name.
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def decides_code(variable: str) -> bool:
    """Return whether a variable decides which code runs."""
    return bool(_DECIDING.fullmatch(variable))
