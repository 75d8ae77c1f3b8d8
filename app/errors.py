"""Answers to requests that are not valid."""

from __future__ import annotations

import json

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError


async def invalid_request(_: Request, error: Exception) -> Response:
    """Answer 422 with the place and the kind of each error, without the values that were sent.

    FastAPI's own answer repeats the values. It fails for those that JSON cannot represent: NaN, a lone surrogate.
    """
    found = error.errors() if isinstance(error, RequestValidationError) else []
    problems = [{name: problem[name] for name in ("type", "loc", "msg")} for problem in found]
    return Response(json.dumps({"detail": problems}), 422, media_type="application/json")
