"""Report an application's lifespan that fails where uvicorn takes the exception for an application without one.

An application that has no lifespan raises before it sends anything
(https://asgi.readthedocs.io/en/latest/specs/lifespan.html#startup). One that has started has a lifespan.
"""

from __future__ import annotations

import logging
import traceback

from prodlock.server.asgi import Application, Message, Receive, Scope, Send
from prodlock.server.logs import SERVER

logger = logging.getLogger(SERVER)


async def run(app: Application, scope: Scope, receive: Receive, send: Send) -> None:
    """Run an application's lifespan; log an exception, and report one behind the start as a failed end."""
    last, stopping = "", False

    async def receive_and_note() -> Message:
        nonlocal stopping
        message = await receive()
        stopping = message["type"] == "lifespan.shutdown"
        return message

    async def send_and_note(message: Message) -> None:
        nonlocal last
        await send(message)
        last = message["type"]

    try:
        await app(scope, receive_and_note, send_and_note)
    except (Exception, SystemExit) as error:
        if not last:
            reason = traceback.format_exception_only(error)[-1].strip()
            logger.info("The application has no lifespan: it raised %s.", reason)
        if last != "lifespan.startup.complete":
            # It has no lifespan, or has reported the failure.
            raise
        logger.exception("The application's lifespan has failed.")
        while not stopping:
            await receive_and_note()
        await send({"type": "lifespan.shutdown.failed", "message": ""})
