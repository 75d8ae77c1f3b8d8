"""What a client is told of a request that is not what it must be."""

from __future__ import annotations

import json

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError


async def invalid(_: Request, error: Exception) -> Response:
    """Answer 422 with what is wrong where, without the values that were sent.

    FastAPI's own answer repeats them, and is itself an error for those that JSON has no room for: NaN, half a
    surrogate pair.
    """
    found = error.errors() if isinstance(error, RequestValidationError) else []
    told = [{name: problem[name] for name in ("type", "loc", "msg")} for problem in found]
    return Response(json.dumps({"detail": told}), 422, media_type="application/json")
