"""The command `prodlock`, for a project in any folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from prodlock import __version__
from prodlock.failure import CANNOT_CHECK, INTERRUPTED, Failure, interrupt_on_termination
from prodlock.project import COMPOSE_FILES

_EXIT_CODES = """\
exit codes:
  0    the production image is proved
  1    it is not: the findings are printed
  2    it can't be checked, or the command line is not valid
  130  interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    interrupt_on_termination()
    try:
        return _check(options)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return failure.code
    except KeyboardInterrupt:
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="prodlock",
        description="Prove that a production image contains what its lock file lists and nothing else.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"prodlock {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    check = commands.add_parser(
        "check",
        help="prove where every byte of the production image comes from",
        description="Prove where every byte of a project's production image comes from.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    check.add_argument(
        "--root",
        metavar="FOLDER",
        type=Path,
        help="the project (default: the nearest folder, the current one or one above it, with a Compose file and "
        "pyproject.toml)",
    )
    check.add_argument(
        "--image", help="another image, or a file that `docker save` wrote (default: the project's image `prod`)"
    )
    check.add_argument("--sbom", metavar="FILE", help="compare a CycloneDX file with the image as well")
    check.add_argument("--json", action="store_true", help="print the report as JSON")
    return parser


def _check(options: argparse.Namespace) -> int:
    """Run `prodlock check`."""
    # Only now: `--version` and `--help` need none of it.
    from prodlock.docker import env_file  # noqa: PLC0415
    from prodlock.proof import check  # noqa: PLC0415

    return check.prod(env_file.project(find_root(options.root)), options.image, bill=options.sbom, as_json=options.json)


def find_root(given: Path | None) -> Path:
    """Return the folder of the project: the given one, or the nearest one at or above the current folder.

    Raises Failure where it is not a project.
    """
    start = (given or Path()).absolute()
    for folder in (start,) if given else (start, *start.parents):
        if (folder / "pyproject.toml").is_file() and any((folder / name).is_file() for name in COMPOSE_FILES):
            return folder
    place = "" if given else " or a folder above it"
    raise Failure(
        f"{start}{place} must have a Compose file and pyproject.toml (got neither or only one). To fix it: name the "
        "project's folder with --root.",
        CANNOT_CHECK,
    )
