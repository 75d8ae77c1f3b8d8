"""One log line a request, with a request id, and the last resort for an error that nothing else handled."""

from __future__ import annotations

import logging
import os
import re
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import REQUESTS

logger = logging.getLogger(REQUESTS)

ID_HEADER = b"x-request-id"
# An id from outside goes into a log: only what can't forge a line, and no more than an id needs.
_SAFE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class RequestLog:
    """ASGI middleware (https://asgi.readthedocs.io/en/latest/specs/www.html) around the whole application.

    It takes the request id from the proxy in front or makes one, returns it as a header, and logs method, path,
    status and milliseconds. An unhandled error is logged with its traceback; the client gets JSON with the id.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        # ASGI has header names in lower case. Starlette's mappings of headers would cost what the log line costs.
        given = next((value for name, value in scope["headers"] if name == ID_HEADER), b"")
        request_id = given if _SAFE_ID.fullmatch(given) else os.urandom(16).hex().encode()
        started = time.perf_counter()
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                others = [header for header in message.get("headers", ()) if header[0].lower() != ID_HEADER]
                message["headers"] = [*others, (ID_HEADER, request_id)]
            await send(message)

        error: Exception | None = None
        try:
            await self.app(scope, receive, send_with_id)
        except Exception as unhandled:
            error = unhandled
            if status:
                # The response is under way: only a broken connection can still tell the client.
                raise
            answer = JSONResponse(
                {"detail": "Internal Server Error", "request_id": request_id.decode()}, status_code=500
            )
            await answer(scope, receive, send_with_id)
        finally:
            fields = {
                "request_id": request_id.decode(),
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round((time.perf_counter() - started) * 1000, 1),
            }
            logger.log(
                logging.ERROR if error else logging.INFO,
                "%(method)s %(path)r %(status)s %(ms).1f ms %(request_id)s",
                fields,
                exc_info=error,
                extra={"fields": fields},
            )
