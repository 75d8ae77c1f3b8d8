"""The documentation pages /docs and /redoc, with their scripts from fastapi-offline instead of a CDN."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI


def with_pages(**arguments: Any) -> FastAPI:  # noqa: ANN401 - those of FastAPI
    """Return an application that has the pages. Raises SystemExit where fastapi-offline is not installed."""
    if find_spec("fastapi_offline"):
        from fastapi_offline import FastAPIOffline  # noqa: PLC0415 - in the dev group

        return FastAPIOffline(**arguments)
    raise SystemExit(
        "APP_DOCS must be false where fastapi-offline is not installed (got true). To fix it: unset it, or add the "
        "package to the main group with `inv poetry -- add --lock fastapi-offline`."
    )


def without_pages(**arguments: Any) -> FastAPI:  # noqa: ANN401 - those of FastAPI
    """Return an application without the pages: FastAPI's own need a CDN."""
    return FastAPI(docs_url=None, redoc_url=None, **arguments)
