"""The command line: `python -m prodlock.server MODULE:ATTRIBUTE [OPTION ...]`."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from prodlock.server import application, logs, server
from prodlock.server.settings import VARIABLES, Settings, ineffective_variables

EPILOG = """\
exit codes:
  0  stopped by a signal
  1  not started: a setting, the address or the application is wrong
  2  the command line is wrong
  3  the application's lifespan failed

environment variables (an option takes precedence over its variable):
  {variables}
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m prodlock.server",
        description="Run an ASGI application in production, until SIGTERM or Ctrl-C.",
        epilog=EPILOG.format(variables="\n  ".join(sorted(VARIABLES))),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument("application", metavar="MODULE:ATTRIBUTE", help="an ASGI application or a factory of one")
    made.add_argument(
        "--host", metavar="ADDRESS", help="the IP address to listen on (default: all addresses; UVICORN_HOST)"
    )
    made.add_argument("--port", metavar="PORT", help="the port to listen on (default: 8000)")
    made.add_argument("--factory", action="store_true", help="call ATTRIBUTE without arguments to get the application")
    made.add_argument("--root-path", metavar="PATH", help="the path that a proxy in front strips (UVICORN_ROOT_PATH)")
    made.add_argument("--health", metavar="PATH", help="the path of the liveness probe (default: /health)")
    made.add_argument("--ready", metavar="PATH", help="the path of the readiness probe (default: /ready)")
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the application until a signal stops it; return the exit code."""
    given = parser().parse_args(arguments)
    settings = Settings.read(options=vars(given))
    logs.configure(settings)
    for name in ineffective_variables():
        logging.getLogger(logs.SERVER).warning("%s has no effect: this server does not read it.", name)
    app = application.load(given.application, is_factory=given.factory)
    return server.run(app, settings)
